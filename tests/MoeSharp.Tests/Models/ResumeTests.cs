using MoeSharp.Core;
using MoeSharp.Cpu;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>A run that was stopped in any way and resumed equals one that was not, and nothing else is resumed.</summary>
public sealed class ResumeTests : IDisposable
{
    private readonly TrainingRun _run = new();

    public void Dispose() => _run.Dispose();

    [Fact]
    public void Resume_AfterCancelling_EqualsAnUninterruptedRun()
    {
        string whole = _run.Complete(_run.Options("whole"));
        TrainOptions options = _run.Options("a");
        TrainResult result = Cancelled(options, 4);
        Assert.True(result.Interrupted);
        Assert.Equal(4, result.Steps);
        Assert.True(File.Exists(RunFolder.OptimizerPath(options.RunFolder)));
        TrainResult end = TrainingRun.Resume(options.RunFolder);
        Assert.False(end.Interrupted);
        Same(whole, options.RunFolder);
    }

    [Fact]
    public void Resume_OfADenseModel_EqualsAnUninterruptedRun()
    {
        TrainOptions options = _run.Options("whole");
        options = options with { Model = options.Model with { DenseWidth = 48, Experts = 0, ExpertWidth = 0, TopK = 0 } };
        string killed = _run.CopyAt(options, 8, "killed");
        TrainingRun.Resume(killed);
        Same(options.RunFolder, killed);
        Assert.All(RunMetrics.Read(RunFolder.MetricsPath(killed)).Train, line => Assert.Equal(double.NaN, line.MeanNullShare));
    }

    [Theory]
    [InlineData(4)]
    [InlineData(8)]
    [InlineData(16)]
    public void Resume_OfAFolderAsAKillLeavesIt_EqualsAnUninterruptedRun(long step)
    {
        // Checkpoints are at 6, 12 and 16: the copies are taken before the first, behind the first, and before the last.
        TrainOptions options = _run.Options("whole");
        string killed = _run.CopyAt(options, step, "killed");
        File.AppendAllText(RunFolder.MetricsPath(killed), """{"step":9,"ki""");
        File.WriteAllText(RunFolder.OptimizerPath(killed) + ".moe-tmp", "half a file");
        TrainingRun.Resume(killed);
        Same(options.RunFolder, killed);
        Assert.Empty(Directory.GetFiles(killed, "*.moe-tmp"));
    }

    [Theory]
    [InlineData("noisy-top-k")]
    [InlineData("relu")]
    [InlineData("loss-free")]
    [InlineData("expert-choice")]
    [InlineData("hash")]
    public void Resume_WithARouterThatHasAStateOrDraws_EqualsAnUninterruptedRun(string router)
    {
        TrainOptions options = _run.Options("whole");
        options = options with
        {
            Model = options.Model.WithRouter(router), NullControllerRate = 0, LoadBiasRate = router == "loss-free" ? 0.01 : 0, TargetExperts = router == "relu" ? 1 : 0,
        };
        string killed = _run.CopyAt(options, 8, "killed");
        TrainingRun.Resume(killed);
        Same(options.RunFolder, killed);
        using SafetensorsFile file = SafetensorsFile.Open(RunFolder.OptimizerPath(killed));
        double weight = double.Parse(file.Metadata["sparsity_weight"], System.Globalization.CultureInfo.InvariantCulture);

        // An untrained ReLU router fires half of its 4 experts, one more than wanted, so the weight grows in every step.
        Assert.Equal(router == "relu" ? Math.Pow(1.2, 16) : 0, weight / 1e-8, 1e-9);
    }

    [Fact]
    public void Resume_WithMicroBatches_EqualsAnUninterruptedRun()
    {
        TrainOptions options = _run.Options("whole") with { BatchSize = 2, AccumulationSteps = 3 };
        string killed = _run.CopyAt(options, 8, "killed");
        TrainingRun.Resume(killed);
        Same(options.RunFolder, killed);
    }

    [Fact]
    public void Resume_WithCodebooks_EqualsAnUninterruptedRun()
    {
        // Usage and revival of codes are state; the first batch after a checkpoint must not start them anew.
        TrainOptions options = _run.Options("whole");
        ModelConfig model = options.Model.WithRouter("vq");
        options = options with { Model = model with { Codebook = model.Codebook! with { Codes = 9, UsageDecay = 0.5, Width = 5 } }, NullControllerRate = 0 };
        string killed = _run.CopyAt(options, 8, "killed");
        TrainingRun.Resume(killed);
        Same(options.RunFolder, killed);
    }

    [Fact]
    public void Options_OfARunFromBeforeTheBalanceScope_BalanceEachMicroBatchByItself()
    {
        TrainOptions options = _run.Options("a");
        string json = options.ToJson();
        Assert.Equal(BalanceScope.Step, TrainOptions.FromJson(json, "train.json").BalanceScope);
        string old = json.Replace("\"balance_scope\": \"step\",", string.Empty, StringComparison.Ordinal);
        Assert.NotEqual(json, old);
        Assert.Equal(BalanceScope.MicroBatch, TrainOptions.FromJson(old, "train.json").BalanceScope);
    }

    [Fact]
    public void Resume_WhenTheModelFileIsOneCheckpointBehind_RewritesIt()
    {
        TrainOptions options = _run.Options("whole");
        string killed = _run.CopyAt(options, 12, "killed");
        File.Copy(RunFolder.OptimizerPath(options.RunFolder), RunFolder.OptimizerPath(killed), overwrite: true);
        using var backend = new CpuBackend(1);
        using (Trainer trainer = Trainer.Resume(backend, killed))
        {
            Assert.Equal(16, trainer.Step);
        }

        Assert.Equal(File.ReadAllBytes(RunFolder.ModelPath(options.RunFolder)), File.ReadAllBytes(RunFolder.ModelPath(killed)));
    }

    [Fact]
    public void Resume_OfAFinishedRun_MeasuresAgainWithoutChangingIt()
    {
        string folder = _run.Complete(_run.Options("a"));
        SortedDictionary<string, string> before = TrainingRun.Tensors(RunFolder.OptimizerPath(folder));
        string[] metrics = TrainingRun.Metrics(folder);
        TrainResult result = TrainingRun.Resume(folder);
        Assert.Equal(16, result.Steps);
        Assert.Equal(before, TrainingRun.Tensors(RunFolder.OptimizerPath(folder)));
        Assert.Equal(metrics, TrainingRun.Metrics(folder));
    }

    [Fact]
    public void Resume_WithChangedData_Refuses()
    {
        TrainOptions options = _run.Options("a");
        Cancelled(options, 4);
        string text = File.ReadAllText(_run.Data);
        File.WriteAllText(_run.Data, text.Replace("alpha", "alphb", StringComparison.Ordinal));
        using var backend = new CpuBackend(1);
        string message = Assert.Throws<DataException>(() => Trainer.Resume(backend, options.RunFolder)).Message;
        Assert.Contains("changed since it began", message, StringComparison.Ordinal);
        File.WriteAllText(_run.Data, text);
        using Trainer trainer = Trainer.Resume(backend, options.RunFolder);
        Assert.Equal(4, trainer.Step);
    }

    [Fact]
    public void Resume_OfARunKeptBelowItsData_IsNotConfusedByItsOwnFiles()
    {
        TrainOptions options = _run.Options("data/runs/a") with { Data = [_run.Folder["data"]] };
        Cancelled(options, 4);
        using var backend = new CpuBackend(1);
        using Trainer trainer = Trainer.Resume(backend, options.RunFolder);
        Assert.Equal(4, trainer.Step);
        Assert.Equal([_run.Data], trainer.Corpus.Files);
    }

    [Fact]
    public void Resume_AfterAKillBeforeTheConfiguration_WritesIt()
    {
        TrainOptions options = _run.Options("whole");
        string killed = _run.CopyAt(options, 4, "killed");
        File.Delete(RunFolder.ConfigPath(killed));
        TrainingRun.Resume(killed);
        Same(options.RunFolder, killed);
        Assert.Equal(File.ReadAllText(RunFolder.ConfigPath(options.RunFolder)), File.ReadAllText(RunFolder.ConfigPath(killed)));
    }

    [Fact]
    public void Start_InAFolderThatAKilledStartLeft_Works()
    {
        TrainOptions options = _run.Options("a") with { Steps = 0 };
        _run.Folder.Write("a/.lock", string.Empty);
        _run.Folder.Write("a/train.json.moe-tmp", "{");
        string folder = _run.Complete(options);
        Assert.Equal(["config.json", "metrics.jsonl", "model.safetensors", "optimizer.safetensors", "train.json"], Directory.GetFiles(folder).Select(Path.GetFileName).Order());
    }

    [Fact]
    public void Resume_WithMovedData_TakesTheNewPlace()
    {
        TrainOptions options = _run.Options("a");
        Cancelled(options, 4);
        File.Move(_run.Data, _run.Folder["moved.txt"]);
        using var backend = new CpuBackend(1);
        Assert.Throws<DataException>(() => Trainer.Resume(backend, options.RunFolder));
        using Trainer trainer = Trainer.Resume(backend, options.RunFolder, [_run.Folder["moved.txt"]]);
        Assert.Equal(4, trainer.Step);
    }

    [Fact]
    public void Resume_OfADamagedCheckpoint_NamesTheFile()
    {
        TrainOptions options = _run.Options("a");
        Cancelled(options, 4);
        string path = RunFolder.OptimizerPath(options.RunFolder);
        File.WriteAllBytes(path, File.ReadAllBytes(path)[..^5]);
        using var backend = new CpuBackend(1);
        string message = Assert.Throws<CheckpointFormatException>(() => Trainer.Resume(backend, options.RunFolder)).Message;
        Assert.Contains(path, message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Resume_OfAFolderWithoutARun_SaysSo(bool exists)
    {
        string folder = _run.Folder["none"];
        if (exists)
        {
            Directory.CreateDirectory(folder);
        }

        using var backend = new CpuBackend(1);
        Assert.Contains(folder, Assert.Throws<CheckpointFormatException>(() => Trainer.Resume(backend, folder)).Message, StringComparison.Ordinal);
        Assert.Contains(folder, Assert.Throws<CheckpointFormatException>(() => RunFolder.Load(folder, backend)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Start_InAFolderThatIsNotEmpty_TouchesNothing()
    {
        TrainOptions options = _run.Options("a");
        string file = _run.Folder.Write("a/notes.txt", "mine");
        using var backend = new CpuBackend(1);
        string message = Assert.Throws<CheckpointFormatException>(() => Trainer.Start(backend, options)).Message;
        Assert.Contains("not empty", message, StringComparison.Ordinal);
        Assert.Equal([file], Directory.GetFileSystemEntries(options.RunFolder));
        Assert.Equal("mine", File.ReadAllText(file));
    }

    [Fact]
    public void Start_WithoutUsableData_MakesNoFolder()
    {
        TrainOptions options = _run.Options("a") with { Data = [_run.Folder["missing"]] };
        using var backend = new CpuBackend(1);
        Assert.Throws<DataException>(() => Trainer.Start(backend, options));
        Assert.False(Directory.Exists(options.RunFolder));
    }

    [Fact]
    public void Resume_WhileAnotherTrainerHasTheFolder_Refuses()
    {
        TrainOptions options = _run.Options("a");
        using var backend = new CpuBackend(1);
        using (Trainer.Start(backend, options))
        {
            string message = Assert.Throws<CheckpointFormatException>(() => Trainer.Resume(backend, options.RunFolder)).Message;
            Assert.Contains("another process", message, StringComparison.Ordinal);
        }

        Trainer.Resume(backend, options.RunFolder).Dispose();
    }

    [Fact]
    public void Load_OfWeightsThatDoNotFit_ListsNames()
    {
        string folder = _run.Complete(_run.Options("a") with { Steps = 0 });
        ModelConfig config = RunFolder.LoadConfig(folder);
        File.WriteAllText(RunFolder.ConfigPath(folder), (config with { TieEmbeddings = false, Layers = 1 }).ToJson());
        using var backend = new CpuBackend(1);
        string message = Assert.Throws<CheckpointFormatException>(() => RunFolder.Load(folder, backend)).Message;
        Assert.Contains("missing lm_head.weight", message, StringComparison.Ordinal);
        Assert.Contains("not expected model.layers.1.", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Metrics_Read_RefusesALineThatIsNoMetric()
    {
        string path = _run.Folder.Write("m.jsonl", "{\"step\":1,\"kind\":\"other\"}\n");
        Assert.Contains("line 1", Assert.Throws<CheckpointFormatException>(() => RunMetrics.Read(path)).Message, StringComparison.Ordinal);
    }

    private static TrainResult Cancelled(TrainOptions options, long step)
    {
        using var source = new CancellationTokenSource();
        using var backend = new CpuBackend(1);
        using Trainer trainer = Trainer.Start(backend, options);
        return trainer.Run(
            new TrainingRun.Watch(progress =>
            {
                if (progress.Step == step)
                {
                    source.Cancel();
                }
            }),
            source.Token);
    }

    private static void Same(string first, string second)
    {
        Assert.Equal(TrainingRun.Tensors(RunFolder.OptimizerPath(first)), TrainingRun.Tensors(RunFolder.OptimizerPath(second)));
        Assert.Equal(File.ReadAllBytes(RunFolder.ModelPath(first)), File.ReadAllBytes(RunFolder.ModelPath(second)));
        Assert.Equal(TrainingRun.Metrics(first), TrainingRun.Metrics(second));
    }
}
