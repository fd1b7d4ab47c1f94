using MoeSharp.Autograd;
using MoeSharp.Core;
using MoeSharp.Cpu;
using MoeSharp.Models;
using MoeSharp.Reference;
using Xunit;

namespace MoeSharp.Tests;

public sealed class TrainerTests : IDisposable
{
    private readonly TrainingRun _run = new();

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose() => _run.Dispose();

    [Fact]
    public void Run_WithTheSameSeed_GivesTheSameFiles()
    {
        string first = _run.Complete(_run.Options("a")), second = _run.Complete(_run.Options("b"));
        Same(first, second);
        Assert.Equal(File.ReadAllBytes(RunFolder.ModelPath(first)), File.ReadAllBytes(RunFolder.ModelPath(second)));
    }

    [Fact]
    public void Run_OnTwoThreads_GivesTheFilesOfOne() => Same(_run.Complete(_run.Options("a"), 1), _run.Complete(_run.Options("b"), 2));

    [Fact]
    public void Run_WithAnotherSeed_GivesAnotherModel()
    {
        string first = _run.Complete(_run.Options("a")), second = _run.Complete(_run.Options("b") with { Seed = 4 });
        Assert.NotEqual(File.ReadAllBytes(RunFolder.ModelPath(first)), File.ReadAllBytes(RunFolder.ModelPath(second)));
    }

    [Fact]
    public void Run_Learns_AndReportsWhatItWrote()
    {
        TrainOptions options = _run.Options("a") with { Steps = 60, SampleBytes = 20 };
        var reports = new List<TrainProgress>();
        using var backend = new CpuBackend(1);
        using Trainer trainer = Trainer.Start(backend, options);
        TrainResult result = trainer.Run(new TrainingRun.Watch(reports.Add), Token);
        RunMetrics metrics = RunMetrics.Read(RunFolder.MetricsPath(options.RunFolder));

        // An untrained model knows nothing: 8 bits. Single-byte frequencies of the text alone bring it to about 4.5.
        Assert.InRange(metrics.Train[0].TrainBitsPerByte, 7.5, 8.5);
        Assert.InRange(result.ValidationBitsPerByte, 0.5, 5);
        Assert.False(result.Interrupted);
        Assert.Equal(60, result.Steps);
        Assert.Equal(20, metrics.Final!.Sample.Length);
        Assert.Equal(20, metrics.Final.SampleNullShare.Count);
        Assert.InRange(metrics.Final.Excerpt.Length, 1, 800);
        Assert.True(trainer.Corpus.Validation.AsSpan().IndexOf(metrics.Final.Excerpt) >= 0);
        EveryByteHasItsExperts(trainer.Model, metrics.Final.Sample, metrics.Final.SampleRealExperts, metrics.Final.SampleNullShare);
        EveryByteHasItsExperts(trainer.Model, metrics.Final.Excerpt, metrics.Final.ExcerptRealExperts, Evaluator.NullShares(trainer.Model, metrics.Final.Excerpt));
        EvaluationResult last = metrics.Evaluations[^1].Result;
        Assert.All(metrics.Evaluations, line => Assert.Equal(options.Model.Layers, line.Result.RealExpertsByClass.Count));
        Assert.Equal([.. metrics.Evaluations.Select((_, i) => i == metrics.Evaluations.Count - 1)], metrics.Evaluations.Select(line => line.Result.ExpertSlots.Count > 0));
        Assert.Equal(last.RealExpertsPerToken * last.Bytes * options.Model.Layers, last.ExpertSlots.Sum(layer => layer.Sum()), 1e-6);
        Assert.All(metrics.Train, line => Assert.All(line.RealExperts.Zip(line.NullShare), pair => Assert.Equal(options.Model.TopK * (1 - pair.Second), pair.First, 1e-9)));
        Assert.Equal(7, result.Yardsticks.Count);
        Assert.Equal(trainer.Corpus.Validation.Length - 1, metrics.Evaluations[^1].Result.Bytes);
        Assert.Equal([8L, 16, 24, 32, 40, 48, 56, 60], metrics.Evaluations.Select(line => line.Step));
        Assert.Equal([1L, 4, 8], metrics.Train.Take(3).Select(line => line.Step));
        Assert.Equal(metrics.Train.Select(line => line.Step), reports.Where(report => report.ValidationBitsPerByte is null).Select(report => report.Step));
        Assert.All(metrics.Train, line => Assert.All(line.ExpertLoad, load => Assert.Equal(1, load.Sum(), 1e-9)));
        Assert.True(result.TokensPerSecond > 0);
    }

    [Fact]
    public void Run_WithTheController_HoldsTheNullShareNearItsTarget()
    {
        TrainOptions options = _run.Options("a") with { Steps = 60 };
        string folder = _run.Complete(options);
        double last = RunMetrics.Read(RunFolder.MetricsPath(folder)).Train[^1].MeanNullShare;
        Assert.InRange(last, 0.35, 0.65);
    }

    [Fact]
    public void Run_WithMicroBatches_EqualsOneLargeBatch()
    {
        // All losses together, and the selection bias that the null-rate controller moves. In double precision both differ by rounding
        // only: gradients by 1e-16 relative to sums of order 1, divided by Adam's epsilon of 1e-8 where they cancel to nothing.
        TrainOptions options = _run.Options("a") with { Steps = 3, BalanceWeight = 0.5, EvaluateEvery = 0, SaveEvery = 0, SampleBytes = 0, ValidationBytes = 200 };
        TrainOptions small = options with { BatchSize = 2, AccumulationSteps = 2 };
        double[] large = State(options with { BatchSize = 4 });
        Assert.True(Distance(State(small with { RunFolder = _run.Folder["b"] })) < 1e-7);
        Assert.True(Distance(State(small with { RunFolder = _run.Folder["c"], BalanceScope = BalanceScope.MicroBatch })) > 1e-5);

        double Distance(double[] other) => large.Zip(other, (x, y) => Math.Abs(x - y)).Max();
    }

    [Theory]
    [InlineData("null")]
    [InlineData("noisy-top-k")]
    [InlineData("cosine")]
    [InlineData("hash")]
    [InlineData("expert-choice")]
    public void Run_InSteadyState_AllocatesNoTensors(string router)
    {
        var seen = new Dictionary<long, (long Allocations, long Live)>();
        TrainOptions options = _run.Options("a") with { Steps = 12, LogEvery = 1, EvaluateEvery = 0, SaveEvery = 0, AccumulationSteps = 2, NullControllerRate = 0 };
        options = options with { Model = options.Model.WithRouter(router) };
        using var backend = new CpuBackend(2);
        using Trainer trainer = Trainer.Start(backend, options);
        trainer.Run(new TrainingRun.Watch(progress =>
            seen.TryAdd(progress.Step, (AllocationTracker.Allocations, AllocationTracker.LiveTensors))), Token);
        Assert.Equal(seen[2], seen[11]);
    }

    [Fact]
    public void Run_WhenAParameterIsNaN_StopsAndKeepsTheLastCheckpoint()
    {
        string expected = _run.Complete(_run.Options("whole"));
        TrainOptions options = _run.Options("a");
        using (var backend = new CpuBackend(1))
        using (Trainer trainer = Trainer.Start(backend, options))
        {
            Parameter parameter = trainer.Model.Parameters.Single(p => p.Name == "model.layers.1.mlp.gate.weight");
            var error = Assert.Throws<TrainingException>(() => trainer.Run(new TrainingRun.Watch(progress =>
            {
                if (progress.Step == 8)
                {
                    backend.Fill(parameter.Value, double.NaN);
                }
            }), Token));
            Assert.Contains("step 9", error.Message, StringComparison.Ordinal);
            Assert.Contains(parameter.Name, error.Message, StringComparison.Ordinal);
            Assert.Contains("learning rate", error.Message, StringComparison.Ordinal);
            Assert.Throws<InvalidOperationException>(() => trainer.Run(null, Token));
        }

        TrainingRun.Resume(options.RunFolder);
        Same(expected, options.RunFolder);
    }

    [Fact]
    public void Run_WhenGradientsOverflow_NamesTheGradient()
    {
        using var backend = new CpuBackend(1);
        using Trainer trainer = Trainer.Start(backend, _run.Options("a") with { ZLossWeight = 1e300 });
        var error = Assert.Throws<TrainingException>(() => trainer.Run(null, Token));
        Assert.Contains("gradient", error.Message, StringComparison.Ordinal);
        Assert.Contains("step 1;", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Run_OfZeroSteps_SavesTheInitialModel()
    {
        string folder = _run.Complete(_run.Options("a") with { Steps = 0 });
        using var backend = new CpuBackend(1);
        using Transformer loaded = RunFolder.Load(folder, backend);
        using var fresh = new Transformer(backend, loaded.Config, 3);
        Assert.Equal(fresh.Parameters[0].Value.ToArray<float>(), loaded.Parameters[0].Value.ToArray<float>());
    }

    [Fact]
    public void Load_GivesTheTrainedModel()
    {
        TrainOptions options = _run.Options("a");
        using var backend = new CpuBackend(1);
        using Trainer trainer = Trainer.Start(backend, options);
        trainer.Run(null, Token);
        using Transformer loaded = RunFolder.Load(options.RunFolder, backend);
        foreach (((string name, Tensor expected), (string loadedName, Tensor actual)) in trainer.Model.StateTensors.Zip(loaded.StateTensors))
        {
            Assert.Equal(name, loadedName);
            Assert.Equal(expected.ToArray<float>(), actual.ToArray<float>());
        }

        Assert.Contains(loaded.Buffers, buffer => buffer.Name.EndsWith("selection_bias", StringComparison.Ordinal) && buffer.Value.ToDoubles().Any(x => x != 0));
    }

    private static void EveryByteHasItsExperts(
        Transformer model, byte[] text, IReadOnlyList<IReadOnlyList<double>> experts, IReadOnlyList<double> nullShare)
    {
        Assert.Equal(model.Config.Layers, experts.Count);
        Assert.All(experts, layer => Assert.Equal(text.Length, layer.Count));
        Assert.All(nullShare.Select((share, i) => (share, i)), pair =>
            Assert.Equal(1 - (experts.Average(layer => layer[pair.i]) / model.Config.TopK), pair.share, 1e-12));
    }

    private static void Same(string first, string second)
    {
        Assert.Equal(TrainingRun.Tensors(RunFolder.OptimizerPath(first)), TrainingRun.Tensors(RunFolder.OptimizerPath(second)));
        Assert.Equal(TrainingRun.Tensors(RunFolder.ModelPath(first)), TrainingRun.Tensors(RunFolder.ModelPath(second)));
        Assert.Equal(TrainingRun.Metrics(first), TrainingRun.Metrics(second));
    }

    private static double[] State(TrainOptions options)
    {
        using var backend = new ReferenceBackend();
        using Trainer trainer = Trainer.Start(backend, options);
        trainer.Run(null, Token);
        return [.. trainer.Model.StateTensors.SelectMany(state => state.Tensor.ToDoubles())];
    }
}
