using MoeSharp.Autograd;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

public sealed class ThresholdAnnealingTests : IDisposable
{
    private readonly TrainingRun _run = new();

    public void Dispose() => _run.Dispose();

    [Fact]
    public void Linear_RisesFromTheFirstStepAndStays()
    {
        double[] values = [.. Enumerable.Range(1, 6).Select(step => ThresholdAnnealing.Linear(step, 4, 0.1, 0.9))];
        Assert.Equal([0.1, 0.3, 0.5, 0.7, 0.9, 0.9], values.Select(value => Math.Round(value, 12)));
        Assert.Equal(0.9, ThresholdAnnealing.Linear(1, 0, 0.1, 0.9));
        Assert.Throws<ArgumentOutOfRangeException>(() => ThresholdAnnealing.Linear(0, 4, 0.1, 0.9));
    }

    [Fact]
    public void Run_WithARisingThreshold_BeginsWithFewExperts()
    {
        // Four experts that an untrained router cannot tell apart: 0.9 takes four of them, 0.1 one.
        TrainMetrics plain = First(_run.Complete(Threshold("plain", 0)));
        TrainMetrics rising = First(_run.Complete(Threshold("rising", 10)));
        Assert.Equal(0, plain.MeanNullShare, 0.05);
        Assert.Equal(0.75, rising.MeanNullShare, 0.01);
    }

    [Fact]
    public void Resume_WhileTheThresholdRises_EqualsAnUninterruptedRun()
    {
        TrainOptions options = Threshold("whole", 10);
        string killed = _run.CopyAt(options, 8, "killed");
        TrainingRun.Resume(killed);
        Assert.Equal(TrainingRun.Tensors(RunFolder.OptimizerPath(options.RunFolder)), TrainingRun.Tensors(RunFolder.OptimizerPath(killed)));
        Assert.Equal(TrainingRun.Metrics(options.RunFolder), TrainingRun.Metrics(killed));
    }

    [Theory]
    [InlineData(0.0, "The threshold of the first step is in (0, 1], got 0.")]
    [InlineData(0.95, "A threshold that rises from 0.95 over 10 steps needs a threshold router with at least that mass; set the steps to 0, or Selection.Threshold, got Selection.Threshold and 0.9.")]
    public void Validate_StartOutOfRange_IsRefused(double start, string message) => Assert.Equal(
        message, Assert.Throws<ArgumentException>(() => (Threshold("a", 10) with { ThresholdStart = start }).Validate()).Message);

    [Fact]
    public void Validate_WithoutAThresholdRouter_IsRefused() => Assert.Equal(
        "A threshold that rises from 0.1 over 5 steps needs a threshold router with at least that mass; set the steps to 0, or Selection.Threshold, got Selection.TopK and 0.9.",
        Assert.Throws<ArgumentException>(() => (_run.Options("a") with { ThresholdSteps = 5 }).Validate()).Message);

    private static TrainMetrics First(string folder) => RunMetrics.Read(RunFolder.MetricsPath(folder)).Train[0];

    private TrainOptions Threshold(string name, long steps)
    {
        TrainOptions options = _run.Options(name);
        ModelConfig model = (options.Model with { TopK = 4 }).WithRouter("threshold") with { Threshold = 0.9 };
        return options with { Model = model, ThresholdSteps = steps, NullControllerRate = 0 };
    }
}
