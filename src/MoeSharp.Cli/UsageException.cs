namespace MoeSharp.Cli;

/// <summary>The command line cannot be right, whatever the files hold: exit code 2.</summary>
internal sealed class UsageException(string message) : Exception(message);
