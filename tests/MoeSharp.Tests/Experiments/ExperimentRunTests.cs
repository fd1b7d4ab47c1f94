using MoeSharp.Core;
using MoeSharp.Experiments;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>An experiment in steps that a test can afford: resumed, refused, and the same bytes in any order.</summary>
public sealed class ExperimentRunTests : IDisposable
{
    private const string Tiny = """
        {
          "experiment": "null-experts", "seeds": 2, "tuning_seeds": 1,
          "stream": { "steps": 6, "tokens": 32, "balance_weights": [0.02, 0.2] },
          "text": { "steps": 2, "batch": 2, "context": 16, "train_bytes": 4000, "balance_weights": [0.02] },
          "scenes": { "steps": 2, "batch": 2, "balance_weights": [0.02] }
        }
        """;

    private static readonly string[] s_files = ["report.html", "results.json", "config.json", "stream-loss.svg", "scenes-picture.svg"];

    private readonly CliFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Run_Finishes_GoesOnAndWritesTheSameCells()
    {
        CliResult first = await Run("a", "--threads", "2");
        Assert.True(first.Code == 0, first.Error);
        foreach (string file in s_files)
        {
            Assert.True(new FileInfo(_folder["a/" + file]).Length > 100, file);
        }

        // A second call runs nothing but what is missing, and what it runs again is the same but for the time it took.
        string cell = Directory.GetFiles(_folder["a/cells/text"], "k4*").Order().First();
        string before = WithoutSeconds(cell);
        File.Delete(cell);
        DateTime untouched = File.GetLastWriteTimeUtc(Directory.GetFiles(_folder["a/cells/stream"], "k2*").Order().First());
        CliResult second = await Run("a", "--threads", "1");
        Assert.True(second.Code == 0, second.Error);
        Assert.Equal(before, WithoutSeconds(cell));
        Assert.Equal(untouched, File.GetLastWriteTimeUtc(Directory.GetFiles(_folder["a/cells/stream"], "k2*").Order().First()));

        // More seeds go on; another setting is refused.
        CliResult more = await Run("a", "--seeds", "3");
        Assert.True(more.Code == 0, more.Error);
        File.WriteAllText(_folder["tiny.json"], Tiny.Replace("\"steps\": 6", "\"steps\": 7", StringComparison.Ordinal));
        CliResult other = await CliRunner.RunAsync("experiment", "null-experts", "--config", _folder["tiny.json"], "--out", _folder["a"]);
        Assert.Equal(1, other.Code);
        Assert.Contains("another configuration: stream.steps is 6 there and 7 here", other.Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{ "stream": { "steps": 0 } }""", "'stream.steps' is a whole number from 1")]
    [InlineData("""{ "stream": { "balance_weights": [-1] } }""", "'stream.balance_weights' is a number from 0")]
    [InlineData("""{ "stream": { "stepz": 5 } }""", "'stream.stepz' is not a setting; there are steps")]
    [InlineData("""{ "streams": {} }""", "'streams' is not a setting")]
    [InlineData("""{ "experiment": "other" }""", "configures the experiment 'other'")]
    [InlineData("""{ "seeds": 1.5 }""", "'seeds' is a whole number")]
    public async Task Config_WithAMistake_NamesIt(string json, string message)
    {
        File.WriteAllText(_folder["config.json"], json);
        CliResult result = await CliRunner.RunAsync("experiment", "null-experts", "--config", _folder["config.json"], "--out", _folder["run"]);
        Assert.Equal(1, result.Code);
        Assert.Contains(message, result.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_folder["run"]));
    }

    [Fact]
    public async Task PrintConfig_IsReadBackAsItself()
    {
        CliResult printed = await CliRunner.RunAsync("experiment", "null-experts", "--quick", "--print-config");
        Assert.Equal(0, printed.Code);
        ExperimentConfig config = ExperimentConfig.Read(Catalog.Get("null-experts"), quick: false, printed.Output, "printed");
        Assert.Equal(printed.Output, config.ToJson());
        Assert.Equal(2, config.Seeds);
    }

    [Theory]
    [InlineData("nonsense", "There is no experiment 'nonsense'; there are null-experts")]
    [InlineData("all", "A configuration belongs to one experiment")]
    public async Task Name_ThatCannotRun_IsUsageError(string name, string message)
    {
        CliResult result = await CliRunner.RunAsync("experiment", name, "--config", "x.json");
        Assert.Equal(2, result.Code);
        Assert.Contains(message, result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Scenes_AreMostlyBlankAndSayWhatTheyShow()
    {
        var scenes = new Scenes(7);
        Scene[] drawn = [.. Enumerable.Range(0, 50).Select(i => scenes.Draw((ulong)i))];
        Assert.All(drawn, scene => Assert.EndsWith(".", scene.Caption[..scene.Written], StringComparison.Ordinal));
        Assert.InRange(drawn.Average(scene => scene.IsDrawn.Count(patch => patch)), 4, 24);
        Assert.Equal(drawn[3].Pixels, new Scenes(7).Draw(3).Pixels);
        Assert.NotEqual(drawn[3].Pixels, new Scenes(8).Draw(3).Pixels);
    }

    [Fact]
    public void MixedStream_EvaluationIsNotTraining()
    {
        var stream = new MixedStream(3);
        float[] train = new float[64 * MixedStream.Width], evaluation = new float[train.Length], target = new float[train.Length];
        int[] kinds = new int[64];
        stream.Train(0, 64, train, target, kinds);
        stream.Evaluate(64, evaluation, target, kinds);
        Assert.Empty(train.Chunk(MixedStream.Width).Select(row => row[0]).Intersect(evaluation.Chunk(MixedStream.Width).Select(row => row[0])));
    }

    private static string WithoutSeconds(string path)
    {
        CellResult cell = CellResult.FromJson(File.ReadAllText(path), path);
        cell[Metric.Seconds] = 0;
        return cell.ToJson();
    }

    private async Task<CliResult> Run(string folder, params string[] more)
    {
        File.WriteAllText(_folder["tiny.json"], Tiny);
        return await CliRunner.RunAsync(["experiment", "null-experts", "--config", _folder["tiny.json"], "--out", _folder[folder], .. more]);
    }
}
