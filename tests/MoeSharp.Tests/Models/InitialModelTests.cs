using MoeSharp.Core;
using MoeSharp.Cpu;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>Runs that begin with the weights of another folder.</summary>
public sealed class InitialModelTests : IDisposable
{
    private readonly TrainingRun _run = new();

    public void Dispose() => _run.Dispose();

    [Fact]
    public void Start_BeginsWithTheWeightsAndNewMoments()
    {
        string first = _run.Complete(_run.Options("first"));
        string second = _run.Complete(_run.Options("second") with { InitialModel = first, Steps = 0, Seed = 8 });
        Assert.Equal(TrainingRun.Tensors(RunFolder.ModelPath(first)), TrainingRun.Tensors(RunFolder.ModelPath(second)));
        SortedDictionary<string, string> checkpoint = TrainingRun.Tensors(RunFolder.OptimizerPath(second));
        Assert.All(checkpoint.Where(item => item.Key.EndsWith(".m", StringComparison.Ordinal)), item => Assert.Equal(item.Value.Length, item.Value.Count(digit => digit == '0')));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Resume_AfterAKillBeforeTheFirstCheckpointOfItsOwn_EqualsAnUninterruptedRun(bool inTheFirstSave)
    {
        string first = _run.Complete(_run.Options("first"));
        TrainOptions options = _run.Options("whole") with { InitialModel = first };
        string killed = _run.CopyAt(options, 4, "killed");
        if (inTheFirstSave)
        {
            File.Delete(RunFolder.OptimizerPath(killed));
            File.Delete(RunFolder.ModelPath(killed));
        }
        else
        {
            // The weights are in the run from the beginning.
            Directory.Delete(first, recursive: true);
        }

        TrainingRun.Resume(killed);
        Assert.Equal(TrainingRun.Tensors(RunFolder.OptimizerPath(options.RunFolder)), TrainingRun.Tensors(RunFolder.OptimizerPath(killed)));
        Assert.Equal(TrainingRun.Metrics(options.RunFolder), TrainingRun.Metrics(killed));
    }

    [Fact]
    public void Start_WithAModelOfAnotherShape_IsRefusedAndLeavesNothing()
    {
        string first = _run.Complete(_run.Options("first") with { Steps = 0 });
        TrainOptions options = _run.Options("second") with { InitialModel = first };
        using var backend = new CpuBackend(1);
        Assert.Throws<CheckpointFormatException>(() => Trainer.Start(backend, options with { Model = options.Model with { ExpertWidth = 8 } }));
        Assert.False(Directory.Exists(options.RunFolder));
    }

    [Fact]
    public void SaveDerived_GivesAFolderToLoadButNotToResume()
    {
        string first = _run.Complete(_run.Options("first") with { Steps = 0 });
        using var backend = new CpuBackend(1);
        using Transformer model = RunFolder.Load(first, backend);
        RunFolder.SaveDerived(_run.Folder["derived"], model, first);
        Assert.Equal(["config.json", "model.safetensors", "train.json"], Directory.GetFiles(_run.Folder["derived"]).Select(Path.GetFileName).Order());
        Assert.Equal(RunFolder.LoadOptions(first).Data, RunFolder.LoadOptions(_run.Folder["derived"]).Data);
        Assert.Contains("moe train --init", Assert.Throws<CheckpointFormatException>(() => Trainer.Resume(backend, _run.Folder["derived"])).Message, StringComparison.Ordinal);
        Assert.Contains("not empty", Assert.Throws<CheckpointFormatException>(() => RunFolder.SaveDerived(first, model, first)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void SaveDerived_WhenItFails_LeavesNothing()
    {
        string first = _run.Complete(_run.Options("first") with { Steps = 0 });
        File.WriteAllText(RunFolder.TrainPath(first), "{");
        using var backend = new CpuBackend(1);
        using Transformer model = RunFolder.Load(first, backend);
        Assert.Throws<CheckpointFormatException>(() => RunFolder.SaveDerived(_run.Folder["derived"], model, first));
        Assert.DoesNotContain(Directory.GetFileSystemEntries(_run.Folder["."]), path => Path.GetFileName(path).StartsWith("derived", StringComparison.Ordinal));
    }

    [Fact]
    public void Load_WithAThreshold_NeedsAThresholdRouter()
    {
        string first = _run.Complete(_run.Options("first") with { Steps = 0 });
        using var backend = new CpuBackend(1);
        string message = Assert.Throws<ArgumentException>(() => RunFolder.Load(first, backend, 0.5)).Message;
        Assert.Equal("A threshold of 0.5 needs a model with a threshold router; this one has the router null.", message);
    }
}
