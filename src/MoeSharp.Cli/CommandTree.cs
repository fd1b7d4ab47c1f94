using System.CommandLine;
using System.CommandLine.Help;

namespace MoeSharp.Cli;

/// <summary>All commands and the options they share.</summary>
internal static class CommandTree
{
    private static readonly string[] s_examples =
    [
        "moe train --data src                      train on all text below src, about 2 minutes on a CPU",
        "moe generate --model runs/NAME --prompt \"public \"",
        "moe eval --model runs/NAME --data notes.txt",
        "moe info --format json",
    ];

    /// <summary>Parses a command line.</summary>
    public static ParseResult Parse(CommandHost host, IReadOnlyList<string> args)
    {
        // Response files (@file) would read whatever a prompt that begins with @ happens to name.
        return Root(host).Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
    }

    /// <summary>What is wrong with a command line, without running it; empty when it can run.</summary>
    public static IReadOnlyList<string> ParseErrors(IReadOnlyList<string> args)
    {
        var host = new CommandHost(TextWriter.Null, TextWriter.Null, Terminal.None, CancellationToken.None);
        return [.. Parse(host, args).Errors.Select(error => error.Message)];
    }

    private static RootCommand Root(CommandHost host)
    {
        var root = new RootCommand("Train, generate, evaluate and inspect Mixture-of-Experts transformers with null experts.")
        {
            TrainCommand.Create(host),
            GenerateCommand.Create(host),
            EvalCommand.Create(host),
            ConvertCommand.Create(host),
            InspectCommand.Create(host),
            ExperimentCommand.Create(host),
            ProfileCommand.Create(host),
            InfoCommand.Create(host),
            KernelsCommand.Create(host),
            ReportCommand.Create(host),
            CompletionCommand.Create(host),
        };
        root.Add(host.Format);
        root.Add(host.Quiet);
        root.Add(host.Verbose);
        foreach (HelpOption help in root.Options.OfType<HelpOption>())
        {
            help.Action = new ExamplesHelpAction((HelpAction)help.Action!, s_examples);
        }

        return root;
    }
}
