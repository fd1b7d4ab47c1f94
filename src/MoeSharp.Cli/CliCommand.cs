using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;

namespace MoeSharp.Cli;

/// <summary>A command with examples.</summary>
internal sealed class CliCommand(string name, string description, params string[] examples) : Command(name, description)
{
    /// <summary>Command lines to copy; each begins with <c>moe</c>.</summary>
    public IReadOnlyList<string> Examples { get; } = examples;
}

/// <summary>Help that ends in examples: most users copy one and change it.</summary>
internal sealed class ExamplesHelpAction(HelpAction inner, IReadOnlyList<string> rootExamples) : SynchronousCommandLineAction
{
    /// <inheritdoc/>
    public override bool ClearsParseErrors => true;

    /// <inheritdoc/>
    public override int Invoke(ParseResult parseResult)
    {
        int code = inner.Invoke(parseResult);
        TextWriter output = parseResult.InvocationConfiguration.Output;
        output.WriteLine("Examples:");
        foreach (string example in parseResult.CommandResult.Command is CliCommand command ? command.Examples : rootExamples)
        {
            output.WriteLine("  " + example);
        }

        return code;
    }
}
