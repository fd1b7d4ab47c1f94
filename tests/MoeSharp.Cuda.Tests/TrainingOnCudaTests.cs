using MoeSharp.Core;
using MoeSharp.Cpu;
using MoeSharp.Models;
using MoeSharp.Reference;
using MoeSharp.Tests;
using Xunit;

namespace MoeSharp.Cuda.Tests;

/// <summary>A whole training run on CUDA: model, tape, optimizer, controller, checkpoints, evaluation, generation.</summary>
/// <remarks>
/// How far may two float32 runs drift apart? Rounding errors pass through every later step, so no formula bounds them. The oracle's run in
/// double precision tells: the CPU's distance from it is what float32 costs here, and CUDA, which rounds as often but in another order, may
/// be <see cref="Times"/> as far away. A wrong term in any op would be off by orders of magnitude from the first step on.
/// </remarks>
public sealed class TrainingOnCudaTests : IDisposable
{
    private const int Steps = 20;
    private const double Times = 4;
    private readonly TempFolder _folder = new();
    private readonly string _data;

    public TrainingOnCudaTests() => _data = _folder.Write("data/text.txt", Samples.Program(600));

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void TwentySteps_InFloat32_AreTheCpus()
    {
        RunMetrics exact = Train(new ReferenceBackend(), "exact"), cpu = Train(new CpuBackend(1), "cpu"), cuda = Train(Emulated.Backend(), "cuda");
        Assert.Equal(Steps, cuda.Train.Count);
        double lossError = 0, normError = 0;
        for (int i = 0; i < Steps; i++)
        {
            (TrainMetrics e, TrainMetrics c, TrainMetrics g) = (exact.Train[i], cpu.Train[i], cuda.Train[i]);

            // The largest distance so far: a step at which the CPU happens to be right is no bound. 8 u for what is rounded when it is printed and summed.
            lossError = Math.Max(lossError, Math.Abs(c.TrainBitsPerByte - e.TrainBitsPerByte) / e.TrainBitsPerByte);
            normError = Math.Max(normError, Math.Abs(c.GradientNorm - e.GradientNorm) / e.GradientNorm);
            Near("loss", i, e.TrainBitsPerByte, g.TrainBitsPerByte, lossError);
            Near("gradient norm", i, e.GradientNorm, g.GradientNorm, normError);
            Assert.Equal(e.NullShare, g.NullShare);
        }

        Assert.True(cuda.Train[^1].TrainBitsPerByte < cuda.Train[0].TrainBitsPerByte - 1, "The loss does not fall.");
        Near("validation", Steps, exact.Evaluations[^1].Result.BitsPerByte, cuda.Evaluations[^1].Result.BitsPerByte, lossError);
    }

    [Fact]
    public void TwentySteps_InBFloat16_Learn_AndResumeBitForBit()
    {
        RunMetrics cuda = Train(Emulated.Backend(new CudaOptions { FloatType = DType.BFloat16 }), "bf16");
        RunMetrics cpu = Train(new CpuBackend(1), "cpu"), again = Train(Emulated.Backend(new CudaOptions { FloatType = DType.BFloat16 }), "resumed", stopAt: 7);
        Assert.Equal(cuda.Train.Select(line => (line.TrainBitsPerByte, line.GradientNorm)), again.Train.Select(line => (line.TrainBitsPerByte, line.GradientNorm)));

        // bfloat16 holds 8 bits: each of the some hundred roundings on the way to the loss is off by at most 2^-8, in both directions.
        for (int i = 0; i < Steps; i++)
        {
            double difference = Math.Abs(cuda.Train[i].TrainBitsPerByte - cpu.Train[i].TrainBitsPerByte);
            Assert.True(difference < 16.0 / 256 * cpu.Train[i].TrainBitsPerByte, $"Step {i + 1}: {cuda.Train[i].TrainBitsPerByte} in bfloat16, {cpu.Train[i].TrainBitsPerByte} in float32.");
        }

        Assert.True(cuda.Train[^1].TrainBitsPerByte < cuda.Train[0].TrainBitsPerByte - 1, "The loss does not fall.");
    }

    private static void Near(string what, int step, double exact, double actual, double cpuError)
    {
        double allowed = Times * (cpuError + (8.0 / (1 << 24)));
        double relative = Math.Abs(actual - exact) / exact;
        Assert.True(relative <= allowed, $"{what} of step {step + 1}: {actual:R}, the oracle says {exact:R}; off by {relative:E2} of it, allowed {allowed:E2}.");
    }

    /// <summary>Trains in a folder of that name, and frees the backend. A run that stops goes on from its files.</summary>
    private RunMetrics Train(Backend backend, string name, long stopAt = 0)
    {
        TrainOptions options = Presets.Get("tiny") with
        {
            RunFolder = _folder[name], Data = [_data], Steps = Steps, LogEvery = 1, SaveEvery = 0, EvaluateEvery = 0, EvaluationBytes = 512,
            ValidationBytes = 512, SampleBytes = 4, Seed = 3, BatchSize = 2,
        };
        using (backend)
        {
            using (Trainer trainer = Trainer.Start(backend, options))
            using (var stop = new CancellationTokenSource())
            {
                TrainResult result = trainer.Run(new Watch(progress => Stop(progress.Step == stopAt, stop)), stop.Token);
                Assert.Equal(stopAt > 0, result.Interrupted);
            }

            if (stopAt > 0)
            {
                using Trainer trainer = Trainer.Resume(backend, options.RunFolder);
                Assert.Equal(stopAt, trainer.Step);
                trainer.Run();
            }
        }

        return RunMetrics.Read(RunFolder.MetricsPath(options.RunFolder));
    }

    private static void Stop(bool now, CancellationTokenSource stop)
    {
        if (now)
        {
            stop.Cancel();
        }
    }

    /// <summary>Reports progress at once, on the training thread.</summary>
    private sealed class Watch(Action<TrainProgress> action) : IProgress<TrainProgress>
    {
        public void Report(TrainProgress value) => action(value);
    }
}
