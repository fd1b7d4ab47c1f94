using System.CommandLine;
using System.CommandLine.Invocation;
using System.Text;

namespace MoeSharp.Cli;

/// <summary>The <c>moe</c> command.</summary>
internal static class Program
{
    private const string MissingCommand = "Required command was not provided.";

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
        ParseResult parse = CommandTree.Parse(host, args);
        if (parse.Action is ParseErrorAction parseError)
        {
            return await ReportUsageAsync(parse, parseError, error).ConfigureAwait(false);
        }

        var configuration = new InvocationConfiguration
        {
            Output = output,
            Error = error,
            EnableDefaultExceptionHandler = false,

            // Signals are ours: training needs longer than any fixed time to finish its step and save.
            ProcessTerminationTimeout = null,
        };
        return await parse.InvokeAsync(configuration, stop).ConfigureAwait(false);
    }

    private static async Task<int> ReportUsageAsync(ParseResult parse, ParseErrorAction action, TextWriter error)
    {
        // An unknown command also counts as a missing one; the first says more.
        bool isUnknown = parse.UnmatchedTokens.Count > 0;
        foreach (string message in parse.Errors.Select(item => item.Message).Where(m => !isUnknown || m != MissingCommand).Distinct())
        {
            await error.WriteLineAsync($"moe: {message}").ConfigureAwait(false);
        }

        // What remains of the library's own report: "did you mean". It goes where errors go.
        action.ShowHelp = false;
        using var suggestions = new StringWriter();
        parse.Invoke(new InvocationConfiguration { Output = suggestions, Error = TextWriter.Null, EnableDefaultExceptionHandler = false });
        string text = suggestions.ToString().Trim();
        if (text.Length > 0)
        {
            await error.WriteLineAsync(text).ConfigureAwait(false);
        }

        await error.WriteLineAsync($"See: {CommandPath(parse)} --help").ConfigureAwait(false);
        return CommandHost.Usage;
    }

    private static string CommandPath(ParseResult parse) =>
        parse.CommandResult.Command is RootCommand ? "moe" : "moe " + parse.CommandResult.Command.Name;
}
