using Xunit;

namespace MoeSharp.Tests;

/// <summary>Wrong input: one clear message on standard error, the right exit code, and nothing left behind.</summary>
public sealed class CliUsageTests : IDisposable
{
    private readonly CliFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("--threads", "0", "--threads is a whole number from 1 to 1024, got '0'")]
    [InlineData("--rho", "0", "--rho is a number above 0 and at most 1, got '0'")]
    [InlineData("--rho", "1.5", "--rho is a number above 0 and at most 1, got '1.5'")]
    [InlineData("--rho", "NaN", "got 'NaN'")]
    [InlineData("--experts", "0", "--experts is a whole number from 1")]
    [InlineData("--experts", "2.5", "got '2.5'")]
    [InlineData("--steps", "many", "--steps is a whole number from 1")]
    [InlineData("--top-k", "99", "top-k is 1..8")]
    [InlineData("--top-k", "0", "--top-k is a whole number from 1")]
    [InlineData("--threshold", "0", "--threshold is a number above 0 and at most 1, got '0'")]
    [InlineData("--threshold-steps", "5", "needs a threshold router with at least that mass")]
    [InlineData("--threshold-start", "2", "--threshold-start is a number above 0 and at most 1, got '2'")]
    [InlineData("--threshold", "0.5", "--threshold 0.5 is for a threshold router; add --router threshold")]
    [InlineData("--router", "best", "got 'best'")]
    [InlineData("--heads", "5", "--hidden as a multiple of 10")]
    [InlineData("--preset", "huge", "--preset is tiny, small or medium, got 'huge'")]
    [InlineData("--null-kind", "none", "--null-kind is zero, identity or constant, got 'none'")]
    [InlineData("--format", "xml", "--format is text or json, got 'xml'")]
    [InlineData("--learning-rate", "-1", "--learning-rate is a number above 0")]
    [InlineData("--nonsense", "1", "--nonsense")]
    public async Task Train_WrongOption_IsUsageError(string option, string value, string message)
    {
        string[] preset = option == "--preset" ? [] : ["--preset", "tiny"];
        CliResult result = await CliRunner.RunAsync(["train", .. preset, "--data", _folder.Text(), "--out", _folder["run"], option, value]);
        Rejected(result, 2, message);
        Assert.False(Directory.Exists(_folder["run"]));
    }

    [Theory]
    [InlineData("top-k", "--rho", "0.5", "--router top-k with --rho 0.5 is the router null")]
    [InlineData("null", "--rho", "1", "--router null with --rho 1 is the router top-k")]
    [InlineData("expert-choice", "--rho", "0.5", "An expert-choice router")]
    [InlineData("sigmoid", "--threshold", "0.5", "add --router threshold or top-p")]
    [InlineData("threshold", "--threshold", "0", "--threshold is a number above 0")]
    [InlineData("cosine", "--top-k", "9", "top-k is 1..4")]
    public async Task Train_RouterThatDoesNotFit_IsUsageError(string router, string option, string value, string message)
    {
        CliResult result = await CliRunner.RunAsync(
            ["train", "--preset", "tiny", "--data", _folder.Text(), "--out", _folder["run"], "--router", router, option, value]);
        Rejected(result, 2, message);
    }

    [Fact]
    public async Task Train_WithoutData_SaysWhatToGive() => Rejected(await CliRunner.RunAsync("train"), 2, "give --data PATH");

    [Fact]
    public async Task Train_ResumeWithOtherSettings_IsUsageError() =>
        Rejected(await CliRunner.RunAsync("train", "--resume", _folder["run"], "--experts", "3", "--seed", "1"), 2, "leave out --experts, --seed");

    [Theory]
    [InlineData("missing", "does not exist")]
    [InlineData("empty", "There are no files")]
    [InlineData("binary", "None of the 1 files found is text")]
    [InlineData("short", "There are 4 bytes of text")]
    [InlineData("context", "a context of 100000 bytes needs")]
    public async Task Train_UnusableData_FailsAndLeavesNothing(string kind, string message)
    {
        string data = _folder[kind];
        string[] more = [];
        switch (kind)
        {
            case "empty": Directory.CreateDirectory(data); break;
            case "binary": File.WriteAllBytes(data, [1, 0, 2, 0, 255, 0]); break;
            case "short": File.WriteAllText(data, "abc"); break;
            case "context": data = _folder.Text(); more = ["--context", "100000"]; break;
            default: break;
        }

        CliResult result = await CliRunner.RunAsync(["train", "--preset", "tiny", "--data", data, "--out", _folder["run"], .. more]);
        Rejected(result, 1, message);
        Assert.False(Directory.Exists(_folder["run"]));
    }

    [Fact]
    public async Task Train_FolderInUse_FailsAndKeepsItsFiles()
    {
        Directory.CreateDirectory(_folder["run"]);
        File.WriteAllText(_folder["run/notes.txt"], "mine");
        CliResult result = await CliRunner.RunAsync("train", "--preset", "tiny", "--data", _folder.Text(), "--out", _folder["run"]);
        Rejected(result, 1, "exists and is not empty");
        Assert.Equal(["notes.txt"], Directory.EnumerateFileSystemEntries(_folder["run"]).Select(Path.GetFileName));
        Assert.Equal("mine", File.ReadAllText(_folder["run/notes.txt"]));
    }

    [Theory]
    [InlineData("generate", "--model")]
    [InlineData("eval", "--model")]
    [InlineData("train", "--resume")]
    [InlineData("report")]
    [InlineData("inspect")]
    public async Task Commands_FolderThatIsNoRun_SayWhatTheyNeed(params string[] line)
    {
        Directory.CreateDirectory(_folder["other"]);
        Rejected(await CliRunner.RunAsync([.. line, _folder["other"]]), 1, _folder["other"]);
        Rejected(await CliRunner.RunAsync([.. line, _folder["missing"]]), 1, "does not exist");
        Assert.Empty(Directory.EnumerateFileSystemEntries(_folder["other"]));
        Assert.False(Directory.Exists(_folder["missing"]));
    }

    [Fact]
    public async Task UnknownCommand_SuggestsTheNearOne()
    {
        CliResult result = await CliRunner.RunAsync("tran");
        Rejected(result, 2, "'tran'");
        Assert.Contains("train", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("Required command", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task NoCommand_IsUsageError() => Rejected(await CliRunner.RunAsync(), 2, "moe --help");

    [Fact]
    public async Task Inspect_FileThatIsNoSafetensors_NamesTheFile()
    {
        File.WriteAllText(_folder["broken.safetensors"], "this is no header");
        Rejected(await CliRunner.RunAsync("inspect", _folder["broken.safetensors"]), 1, "broken.safetensors");
    }

    [Fact]
    public async Task Device_ThatIsNotThere_IsRefusedWithTheProbes()
    {
        CliResult result = await CliRunner.RunAsync("train", "--data", _folder.Text(), "--out", _folder["run"], "--device", "cuda:63");
        Rejected(result, 1, "cuda:63");
        Assert.False(Directory.Exists(_folder["run"]));
    }

    [Fact]
    public async Task Verbose_AddsTheTrace()
    {
        CliResult plain = await CliRunner.RunAsync("inspect", _folder["missing"]);
        CliResult verbose = await CliRunner.RunAsync("inspect", _folder["missing"], "--verbose");
        Assert.DoesNotContain("   at ", plain.Error, StringComparison.Ordinal);
        Assert.Contains("   at ", verbose.Error, StringComparison.Ordinal);
        Assert.Equal(1, verbose.Code);
    }

    private static void Rejected(CliResult result, int code, string message)
    {
        Assert.Contains(message, result.Error, StringComparison.Ordinal);
        Assert.Equal(code, result.Code);
        Assert.Empty(result.Output);
        Assert.StartsWith("moe: ", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("(Parameter", result.Error, StringComparison.Ordinal);
    }
}
