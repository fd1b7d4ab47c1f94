using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.Text;

namespace MoeSharp.Cli;

/// <summary>The <c>moe</c> command.</summary>
internal static class Program
{
    private static readonly string[] s_examples =
    [
        "moe train --data src                      train on all text below src, about 2 minutes on a CPU",
        "moe generate --model runs/NAME --prompt \"public \"",
        "moe eval --model runs/NAME --data notes.txt",
        "moe info --format json",
    ];

    /// <summary>Entry point.</summary>
    public static async Task<int> Main(string[] args)
    {
        // Byte order marks and the console's code page have no place in pipes.
        var utf8 = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
        Console.OutputEncoding = utf8;
        using var signals = new SignalScope(Console.Error);
        return await RunAsync(args, Console.Out, Console.Error, Terminal.Detect(), signals.Token).ConfigureAwait(false);
    }

    /// <summary>Runs one command line.</summary>
    /// <param name="args">Arguments without the command's own name.</param>
    /// <param name="output">Receives results.</param>
    /// <param name="error">Receives progress and messages.</param>
    /// <param name="terminal">What the streams are connected to; redirected when null.</param>
    /// <param name="stop">Asks the command to finish its step, save and end.</param>
    /// <returns>0 done, 1 failed, 2 the command line is wrong.</returns>
    public static async Task<int> RunAsync(
        string[] args, TextWriter output, TextWriter error, Terminal? terminal = null, CancellationToken stop = default)
    {
        var host = new CommandHost(output, error, terminal ?? Terminal.None, stop);
        ParseResult parse = Root(host).Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
        bool isUsageError = parse.Action is ParseErrorAction;
        if (parse.Action is ParseErrorAction errors)
        {
            errors.ShowHelp = false;
        }

        var configuration = new InvocationConfiguration
        {
            // Suggestions for a mistyped command belong to the error, not to the result.
            Output = isUsageError ? error : output,
            Error = error,
            EnableDefaultExceptionHandler = false,

            // Signals are ours: training needs longer than any fixed time to finish its step and save.
            ProcessTerminationTimeout = null,
        };
        int code = await parse.InvokeAsync(configuration, stop).ConfigureAwait(false);
        if (isUsageError)
        {
            await error.WriteLineAsync($"See: {CommandPath(parse)} --help").ConfigureAwait(false);
        }

        return isUsageError ? CommandHost.Usage : code;
    }

    private static RootCommand Root(CommandHost host)
    {
        var root = new RootCommand("Train, generate, evaluate and inspect Mixture-of-Experts transformers with null experts.")
        {
            TrainCommand.Create(host),
            GenerateCommand.Create(host),
            EvalCommand.Create(host),
            InspectCommand.Create(host),
            InfoCommand.Create(host),
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

    private static string CommandPath(ParseResult parse) =>
        parse.CommandResult.Command is RootCommand ? "moe" : "moe " + parse.CommandResult.Command.Name;
}
