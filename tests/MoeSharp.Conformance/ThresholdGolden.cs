using System.Text.Json;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>Threshold routers and a layer behind one, forward and backward, against values that PyTorch computed in float64.</summary>
/// <remarks>Tolerances as in <see cref="GoldenConformance"/>. A threshold of 0 and cases whose sums are exact only in binary are not run: the first is refused, the gate starts from logits.</remarks>
public abstract class ThresholdGolden(Backend subject)
{
    private const string Folder = "threshold-router";
    private static readonly JsonElement s_cases = JsonSerializer.Deserialize<JsonElement>(File.ReadAllText(Fixture.PathOf("cases.json", Folder)));

    /// <summary>Cases of routers that start from logits.</summary>
    public static TheoryData<string> Routers { get; } =
        [.. s_cases.GetProperty("router").EnumerateArray().Where(entry => entry.GetProperty("logits").ValueKind == JsonValueKind.Array).Select(entry => entry.GetProperty("name").GetString()!)];

    private bool IsDouble => subject.FloatType == DType.Float64;

    [Theory]
    [MemberData(nameof(Routers))]
    public void Router_TakesTheFewestExperts(string name)
    {
        JsonElement golden = s_cases.GetProperty("router").EnumerateArray().Single(entry => entry.GetProperty("name").GetString() == name);
        double[][] logits = golden.GetProperty("logits").Deserialize<double[][]>()!;
        int most = golden.GetProperty("kmax").GetInt32();
        RouterSpec raw = RouterSpec.WithThreshold(golden.GetProperty("E").GetInt32(), golden.GetProperty("t").GetDouble(), most);
        foreach ((string key, RouterSpec spec) in ((string, RouterSpec)[])[("weight", raw), ("weight_renormalised", raw with { Renormalize = Renormalize.Chosen })])
        {
            using var scope = new TensorScope();
            GateResult gate = GateResult.Create(subject, logits.Length, spec);
            subject.Gate(subject.FromDoubles([.. logits.SelectMany(row => row)], logits.Length, spec.Experts), null, spec, gate);
            Assert.Equal(golden.GetProperty("index").Deserialize<int[][]>()!.SelectMany(row => Padded(row, most, -1)), gate.Ids.ToArray<int>());
            Close(key, [.. golden.GetProperty(key).Deserialize<double[][]>()!.SelectMany(row => Padded(row, most, 0.0))], gate.Weights.ToDoubles(), gradient: false);
        }
    }

    [Theory]
    [InlineData("raw", Renormalize.None)]
    [InlineData("renormalised", Renormalize.Chosen)]
    public void Layer_ForwardAndBackward_IsTheGolden(string mode, Renormalize renormalize)
    {
        JsonElement golden = s_cases.GetProperty("layer")[0];
        var file = Fixture.Open(golden.GetProperty("file").GetString()!, Folder);
        int Size(string key) => golden.GetProperty(key).GetInt32();
        (int t, int d, int n, int e) = (Size("T"), Size("d"), Size("n"), Size("E"));
        RouterSpec spec = RouterSpec.WithThreshold(e, golden.GetProperty("t").GetDouble(), Size("kmax")) with { Renormalize = renormalize };
        double[] Fused(string gate, string up) =>
            [.. Enumerable.Range(0, e).SelectMany(expert => file.Values(gate).Skip(expert * n * d).Take(n * d).Concat(file.Values(up).Skip(expert * n * d).Take(n * d)))];

        using var scope = new TensorScope();
        Tensor x = subject.FromDoubles(file.Values("x"), t, d), router = subject.FromDoubles(file.Values("router"), e, d), logits = subject.Empty(t, e);
        GateResult gate = GateResult.Create(subject, t, spec);
        subject.Gemm(x, router, false, true, false, logits);
        subject.Gate(logits, null, spec, gate);
        int[] ids = gate.Ids.ToArray<int>();
        Assert.Equal(file.Values("index"), ids.Select(id => (double)id));
        ExpertLayer layer = ExpertLayer.Run(
            subject, spec, ids, gate.Weights.ToDoubles(), new(t, d, n, file.Values("x"), Fused("gate", "up"), file.Values("down"), file.Values("dout")));
        Close("out", file.Values($"{mode}.out"), layer.Output, gradient: false);
        Close("gate and up", Fused($"{mode}.grad.gate", $"{mode}.grad.up"), layer.DW1, gradient: true);
        Close("down", file.Values($"{mode}.grad.down"), layer.DW2, gradient: true);

        Tensor dLogits = subject.Empty(t, e), dX = subject.Empty(t, d), dRouter = subject.EmptyWide(e, d), none = subject.WideFromDoubles([0], 1);
        subject.GateBackward(logits, gate.Ids, subject.WideFromDoubles(layer.DWeights, t, spec.TopK), gate.Loads, none, none, spec, dLogits);
        subject.Gemm(dLogits, router, false, false, false, dX);
        subject.Gemm(dLogits, x, true, false, false, dRouter);
        Close("x", file.Values($"{mode}.grad.x"), [.. dX.ToDoubles().Zip(layer.DX, (a, b) => a + b)], gradient: true);
        Close("router", file.Values($"{mode}.grad.router"), dRouter.ToDoubles(), gradient: true);
    }

    private static IEnumerable<T> Padded<T>(T[] row, int length, T value) => row.Concat(Enumerable.Repeat(value, length - row.Length));

    private void Close(string name, double[] expected, double[] actual, bool gradient)
    {
        double largest = expected.Max(Math.Abs), unit = IsDouble ? 1e-10 : gradient ? 1e-4 : 1e-5;
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            double allowed = unit * (gradient ? largest : 1 + Math.Abs(expected[i]));
            Assert.True(Math.Abs(expected[i] - actual[i]) <= allowed, $"{name}[{i}] is {actual[i]:R}, expected {expected[i]:R}, allowed difference {allowed:E2}.");
        }
    }
}

/// <summary>The goldens on the oracle.</summary>
public sealed class ThresholdGoldenOnReference(BackendPool pool) : ThresholdGolden(pool.Reference);

/// <summary>The goldens on the CPU backend.</summary>
public sealed class ThresholdGoldenOnCpu(BackendPool pool) : ThresholdGolden(pool.Cpu);

/// <summary>The goldens on CUDA.</summary>
[Collection(CudaPool.Single)]
public sealed class ThresholdGoldenOnCuda(BackendPool pool) : ThresholdGolden(pool.Cuda.Float32);
