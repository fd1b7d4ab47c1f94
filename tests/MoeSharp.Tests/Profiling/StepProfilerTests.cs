using System.Text.Json;
using MoeSharp.Autograd;
using MoeSharp.Core;
using MoeSharp.Cpu;
using MoeSharp.Models;
using MoeSharp.Profiling;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>Where a training step goes: watching changes no bit, every op is there with the work that its sizes say, the command shows it.</summary>
public sealed class StepProfilerTests
{
    private static readonly TrainOptions s_tiny = Presets.Get("tiny");

    [Theory]
    [InlineData(DType.Float32)]
    [InlineData(DType.BFloat16)]
    public void TimedBackend_TrainsTheSameBits(DType type)
    {
        // Constant nulls and a shared expert bring the ops that the presets do not use.
        ModelConfig config = s_tiny.Model with { NullKind = NullKind.Constant, SharedExpertWidth = 24, TieEmbeddings = false };
        using var cpu = new CpuBackend(2, type);
        using var clock = new HostClock(cpu);
        using var timed = new TimedBackend(cpu, clock, DeviceRoofline.Unknown);
        double[][] plain = Train(cpu, config);
        Assert.Equal(plain, Train(timed, config));
        IReadOnlyDictionary<string, OpTally> ops = timed.Take();
        Assert.Equal(2 * config.Layers, ops["ConstantExpertsBackward"].Calls);
        Assert.Equal(2 * config.Layers, ops["SwiGluBackward"].Calls);
        Assert.All(ops.Values, op => Assert.True(op.Microseconds > 0));
        Assert.Empty(timed.Take());
    }

    [Fact]
    public void Profiler_CountsCallsAndWork()
    {
        // Without null slots the rows are T K, whatever the router does.
        TrainOptions options = s_tiny with { Model = s_tiny.Model with { DataSparsity = 1 } };
        using var engine = Engine.Create(new EngineOptions { Device = "cpu", Threads = 1 });
        StepReport report = new StepProfiler(engine, 2).Run(options, stop: TestContext.Current.CancellationToken);
        Dictionary<string, StepOp> ops = report.Ops.ToDictionary(op => op.Row.Stage);
        ModelConfig m = options.Model;
        double tokens = options.TokensPerStep, product = tokens * m.TopK * m.HiddenSize * m.ExpertWidth * m.Layers;
        Assert.Equal(4 * product, ops["ExpertUp"].Row.Flops);
        Assert.Equal(2 * product, ops["ExpertDown"].Row.Flops);
        Assert.Equal(4 * product, ops["ExpertUpWeightGrad"].Row.Flops);
        Assert.Equal(m.Layers, ops["Attention"].Calls);
        double pairs = options.BatchSize * m.ContextLength * (m.ContextLength + 1) / 2.0;
        Assert.Equal(4 * pairs * m.Heads * m.HeadDim * m.Layers, ops["Attention"].Row.Flops);
        Assert.Equal(8 * pairs * m.Heads * m.HeadDim * m.Layers, ops["AttentionBackward"].Row.Flops);
        Assert.Equal(2 * tokens * m.VocabularySize * m.HiddenSize, ops[$"Gemm forward {tokens}x{m.VocabularySize}x{m.HiddenSize}"].Row.Flops);
        Assert.Equal((2 * m.Layers) + 1, ops["RmsNorm"].Calls);
        Assert.Equal((2 * m.Layers) + 1, ops["RmsNormBackward"].Calls);
        Assert.Contains("AdamW", ops.Keys);
        Assert.Contains("CrossEntropyBackward", ops.Keys);
        Assert.Equal(1, report.RealShare, 12);
        Assert.All(report.Ops, op => Assert.True(op.Row.Ceiling > 0, op.Row.Stage));
        Assert.Equal(report.Ops.Select(op => op.Row.Microseconds).OrderDescending(), report.Ops.Select(op => op.Row.Microseconds));
    }

    [Fact]
    public async Task Command_Json_HoldsTheOps()
    {
        CliResult result = await CliRunner.RunAsync("profile", "--train", "--preset", "tiny", "--samples", "1", "--device", "cpu", "--format", "json");
        Assert.True(result.Code == 0, result.Error);
        using JsonDocument json = JsonDocument.Parse(result.Output);
        Assert.Equal("tiny", json.RootElement.GetProperty("preset").GetString());
        List<JsonElement> ops = [.. json.RootElement.GetProperty("ops").EnumerateArray()];
        Assert.Contains("ExpertUpWeightGrad", ops.Select(op => op.GetProperty("op").GetString()));
        double sum = ops.Sum(op => op.GetProperty("microseconds").GetDouble());
        double step = json.RootElement.GetProperty("step_microseconds").GetDouble();
        Assert.Equal(step - sum, json.RootElement.GetProperty("outside_of_ops_microseconds").GetDouble(), 1e-6 * step);
    }

    [Theory]
    [InlineData("--train", "--rho", "0.5", "--rho does not fit: --train measures the layers and tokens of a preset or a run")]
    [InlineData("--shape", "small", "--preset", "--preset does not fit: a training step is measured with --train", "tiny")]
    public async Task Command_OptionsThatDoNotFit_AreUsageErrors(string first, string second, string third, string message, string? fourth = null)
    {
        CliResult result = await CliRunner.RunAsync([.. new[] { "profile", first, second, third, fourth }.OfType<string>()]);
        Assert.Equal(2, result.Code);
        Assert.Contains(message, result.Error, StringComparison.Ordinal);
    }

    private static double[][] Train(Backend backend, ModelConfig config)
    {
        using var model = new Transformer(backend, config, 3);
        using var optimizer = new AdamW(backend, model.Parameters);
        using var tape = new Tape(backend);
        int length = config.ContextLength;
        using Tensor ids = backend.From<int>([.. Enumerable.Range(0, length).Select(i => (i * 37) % 256)], length);
        using Tensor targets = backend.From<int>([.. Enumerable.Range(0, length).Select(i => (i * 53) % 256)], length);
        for (int step = 0; step < 2; step++)
        {
            optimizer.ZeroGradients();
            TransformerOutput output = model.Forward(tape, ids, 1, length);
            Variable loss = tape.CrossEntropy(output.Logits, targets, out _);
            tape.Backward(tape.Add(loss, tape.Add(output.BalanceLoss!, output.ZLoss!)));
            optimizer.Update(1e-2);
            tape.Reset();
        }

        return [.. model.Parameters.Select(parameter => parameter.Value.ToDoubles())];
    }
}
