namespace MoeSharp.Cli;

/// <summary>What a command may use: its streams, how to format, and when to stop.</summary>
internal sealed class CommandContext
{
    /// <summary>Standard output: results only.</summary>
    public required TextWriter Output { get; init; }

    /// <summary>Standard error: progress and messages.</summary>
    public required TextWriter Error { get; init; }

    /// <summary>What the streams are connected to.</summary>
    public required Terminal Terminal { get; init; }

    /// <summary>Whether the result is one JSON object.</summary>
    public required bool Json { get; init; }

    /// <summary>Whether progress is left out.</summary>
    public required bool Quiet { get; init; }

    /// <summary>Cancelled by the first Ctrl-C or SIGTERM.</summary>
    public required CancellationToken Stop { get; init; }

    /// <summary>Writes a line to standard error, unless quiet.</summary>
    public void Note(string line)
    {
        if (!Quiet)
        {
            Error.WriteLine(line);
        }
    }
}
