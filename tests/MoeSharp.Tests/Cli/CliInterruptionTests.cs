using System.Diagnostics;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>A training process that is killed or asked to stop leaves a run that goes on as if nothing had happened.</summary>
public sealed class CliInterruptionTests : IDisposable
{
    private const int Kills = 6;

    private readonly CliFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Train_KilledAtRandomMoments_ResumesToTheSameModel()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "needs kill -9");
        string data = _folder.Text();
        string[] settings = ["train", "--preset", "tiny", "--steps", "150", "--eval-every", "40", "--data", data];
        CliResult whole = await CliRunner.RunAsync([.. settings, "--out", _folder["whole"]]);
        Assert.True(whole.Code == 0, whole.Error);

        int seed = Environment.ProcessId;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        var random = new Random(seed);
        string killed = _folder["killed"];
        string metrics = Path.Combine(killed, "metrics.jsonl");
        for (int kill = 0; kill < Kills; kill++)
        {
            using Process process = kill == 0
                ? CliRunner.Start(null, [.. settings, "--out", killed, "--save-every", "1"])
                : CliRunner.Start(null, "train", "--resume", killed);
            Task<CliResult> finished = CliRunner.FinishAsync(process);

            // The log changes when a process takes the run over and with every step after that: from here on it computes and saves.
            await UntilAsync(() => process.HasExited || (File.Exists(metrics) && File.GetLastWriteTimeUtc(metrics) > process.StartTime.ToUniversalTime()));
            await Task.Delay(random.Next(0, 60), TestContext.Current.CancellationToken);
            CliRunner.Signal(process, "KILL");
            _ = await finished;
        }

        CliResult end = await CliRunner.RunChildAsync(null, "train", "--resume", killed);
        Assert.True(end.Code == 0, end.Error);
        Assert.Equal(
            await File.ReadAllBytesAsync(Path.Combine(_folder["whole"], "model.safetensors"), TestContext.Current.CancellationToken),
            await File.ReadAllBytesAsync(Path.Combine(killed, "model.safetensors"), TestContext.Current.CancellationToken));
        Assert.DoesNotContain(Directory.GetFiles(killed), path => path.EndsWith("tmp", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    public async Task Train_Signal_SavesAndSaysHowToGoOn(string signal)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "needs POSIX signals");
        string run = _folder["run"];
        using Process process = CliRunner.Start(
            null, "train", "--preset", "tiny", "--steps", "100000", "--save-every", "0", "--data", _folder.Text(), "--out", run);
        Task<CliResult> finished = CliRunner.FinishAsync(process);
        await UntilAsync(() => process.HasExited || new FileInfo(Path.Combine(run, "metrics.jsonl")) is { Exists: true, Length: > 0 });
        CliRunner.Signal(process, signal);
        CliResult result = await finished;
        Assert.True(result.Code == 0, result.Error);
        Assert.Contains($"moe train --resume {run}", result.Output, StringComparison.Ordinal);
        Assert.Contains("once more to abort", result.Error, StringComparison.Ordinal);
        Assert.True(File.Exists(Path.Combine(run, "report.html")));
        CliResult text = await CliRunner.RunAsync("generate", "--model", run, "--max-tokens", "4");
        Assert.True(text.Code == 0, text.Error);
    }

    [Fact]
    public async Task Train_SecondSignal_AbortsAtOnce()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "needs POSIX signals");

        // A batch of this size computes for many seconds, so the process cannot have ended by itself.
        using Process process = CliRunner.Start(
            null, "train", "--preset", "tiny", "--batch", "4000", "--data", _folder.Text(), "--out", _folder["run"]);
        CancellationToken token = TestContext.Current.CancellationToken;
        await UntilAsync(() => process.HasExited || File.Exists(_folder["run/metrics.jsonl"]));
        CliRunner.Signal(process, "INT");
        while (await process.StandardError.ReadLineAsync(token) is { } line && !line.Contains("once more", StringComparison.Ordinal))
        {
        }

        CliRunner.Signal(process, "INT");
        await process.WaitForExitAsync(token).WaitAsync(TimeSpan.FromSeconds(30), token);
        Assert.NotEqual(0, process.ExitCode);
        Assert.False(File.Exists(_folder["run/model.safetensors"]));
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        var patience = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(patience.Elapsed < TimeSpan.FromMinutes(1), "The training process did not begin.");
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
    }
}
