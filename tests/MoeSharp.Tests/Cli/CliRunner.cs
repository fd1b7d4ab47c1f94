using System.Diagnostics;
using System.Text;
using MoeSharp.Cli;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>What a command line gave.</summary>
internal sealed record CliResult(int Code, string Output, string Error);

/// <summary>Runs the command, in this process or as a child of it.</summary>
internal static class CliRunner
{
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(2);

    public static async Task<CliResult> RunAsync(params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        int code = await Program.RunAsync(args, output, error, stop: TestContext.Current.CancellationToken);
        return new CliResult(code, output.ToString(), error.ToString());
    }

    /// <summary>Starts the built command with both streams redirected.</summary>
    public static Process Start(IReadOnlyDictionary<string, string>? environment, params string[] args)
    {
        var start = new ProcessStartInfo(OperatingSystem.IsLinux() ? "env" : "dotnet")
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = Encoding.UTF8,
            StandardErrorEncoding = Encoding.UTF8,
        };
        if (OperatingSystem.IsLinux())
        {
            // A test run in the background of a script inherits an ignored SIGINT, and so would the command. env replaces itself.
            start.ArgumentList.Add("--default-signal=INT,TERM");
            start.ArgumentList.Add("dotnet");
        }

        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "moe.dll"));
        foreach (string arg in args)
        {
            start.ArgumentList.Add(arg);
        }

        // A terminal description tempts libraries to write escape sequences into pipes.
        start.Environment["TERM"] = "xterm-256color";
        foreach ((string name, string value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }

        return Process.Start(start)!;
    }

    public static async Task<CliResult> RunChildAsync(IReadOnlyDictionary<string, string>? environment, params string[] args)
    {
        using Process process = Start(environment, args);
        return await FinishAsync(process);
    }

    public static async Task<CliResult> FinishAsync(Process process)
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        Task<string> output = process.StandardOutput.ReadToEndAsync(token);
        Task<string> error = process.StandardError.ReadToEndAsync(token);
        await process.WaitForExitAsync(token).WaitAsync(s_patience, token);
        return new CliResult(process.ExitCode, await output, await error);
    }

    public static void Signal(Process process, string name)
    {
        using Process kill = Process.Start("kill", [$"-{name}", process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }
}
