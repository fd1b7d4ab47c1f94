using MoeSharp.Cli;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>One small finished run that several test classes read.</summary>
public sealed class TrainedRun : IDisposable
{
    private readonly CliFolder _folder = new();

    public TrainedRun()
    {
        Data = _folder.Text();
        using var output = new StringWriter();
        using var error = new StringWriter();
        int code = Program.RunAsync(
            ["train", "--preset", "tiny", "--steps", "12", "--data", Data, "--out", Folder, "--format", "json"], output, error).GetAwaiter().GetResult();
        Assert.True(code == 0, error.ToString());
        Json = output.ToString();
        Progress = error.ToString();
    }

    public string Data { get; }

    public string Folder => _folder["run"];

    public string Json { get; }

    public string Progress { get; }

    public void Dispose() => _folder.Dispose();
}

/// <summary>Marks the classes that share <see cref="TrainedRun"/>.</summary>
[CollectionDefinition(Name)]
public sealed class TrainedRunGroup : ICollectionFixture<TrainedRun>
{
    public const string Name = "trained run";
}
