using System.CommandLine;
using MoeSharp.Core;

namespace MoeSharp.Cli;

/// <summary>Runs commands: options that all of them share, streams, and one place that turns failures into messages and exit codes.</summary>
/// <remarks>
/// Exit codes: 0 done, 1 failed, 2 the command line is wrong. A failure is one message on standard error that says what to do; the trace
/// appears with <c>--verbose</c> or MOESHARP_TRACE=1, because to a user a trace hides the message.
/// </remarks>
internal sealed class CommandHost(TextWriter output, TextWriter error, Terminal terminal, CancellationToken stop)
{
    /// <summary>Exit code of a failure.</summary>
    public const int Failed = 1;

    /// <summary>Exit code of a wrong command line.</summary>
    public const int Usage = 2;

    /// <summary>Variable that switches traces on.</summary>
    public const string TraceVariable = "MOESHARP_TRACE";

    /// <summary><c>--format</c>.</summary>
    public Option<string> Format { get; } = Options.Choice("--format", "How to print the result: text or json.", ["text", "json"], "text");

    /// <summary><c>--quiet</c>.</summary>
    public Option<bool> Quiet { get; } = new("--quiet", "-q") { Description = "No progress on standard error.", Recursive = true };

    /// <summary><c>--verbose</c>.</summary>
    public Option<bool> Verbose { get; } = new("--verbose") { Description = "Print a stack trace after an error message.", Recursive = true };

    /// <summary>Makes an action out of a command's body.</summary>
    public Func<ParseResult, CancellationToken, Task<int>> Action(Func<ParseResult, CommandContext, Task<int>> body) => async (parse, _) =>
    {
        var context = new CommandContext
        {
            Output = output,
            Error = error,
            Terminal = terminal,
            Json = parse.GetValue(Format) == "json",
            Quiet = parse.GetValue(Quiet),
            Stop = stop,
        };
        try
        {
            int code = await body(parse, context).ConfigureAwait(false);
            await output.FlushAsync(CancellationToken.None).ConfigureAwait(false);
            return code;
        }
#pragma warning disable CA1031 // The last place before the user: whatever happened becomes a message and an exit code.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            return await ReportAsync(failure, parse.GetValue(Verbose)).ConfigureAwait(false);
        }
    };

    /// <summary>Makes an action out of a body that does not wait for anything.</summary>
    public Func<ParseResult, CancellationToken, Task<int>> Action(Func<ParseResult, CommandContext, int> body) =>
        Action((parse, context) => Task.FromResult(body(parse, context)));

    /// <summary>Message of an exception without the parameter name that the framework appends.</summary>
    public static string Message(Exception failure)
    {
        int parameter = failure is ArgumentException ? failure.Message.IndexOf(" (Parameter '", StringComparison.Ordinal) : -1;
        return parameter < 0 ? failure.Message : failure.Message[..parameter];
    }

    private async Task<int> ReportAsync(Exception failure, bool verbose)
    {
        string message = failure switch
        {
            OperationCanceledException => "Stopped before the result was complete.",
            InsufficientMemoryException => failure.Message, // a backend's own, with sizes and advice
            OutOfMemoryException => "There is not enough memory; use a smaller model, batch or context.",
            UsageException or MoeSharpException or ArgumentException or IOException or UnauthorizedAccessException => Message(failure),
            _ => $"Unexpected {failure.GetType().Name}: {failure.Message} Run again with --verbose for the trace and report it.",
        };
        await error.WriteLineAsync($"moe: {message}").ConfigureAwait(false);
        if (verbose || Environment.GetEnvironmentVariable(TraceVariable) == "1")
        {
            await error.WriteLineAsync(failure.ToString()).ConfigureAwait(false);
        }

        await error.FlushAsync().ConfigureAwait(false);
        return failure is UsageException ? Usage : Failed;
    }
}
