using MoeSharp.Core;
using MoeSharp.Cuda;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>The fused experts of the CUDA backend against the same layer in plain loops, <c>kernels/moe/moe_simple.cu</c>.</summary>
/// <remarks>
/// Both sum in ascending order and round where the engine stores. In float32 every bit is the same. Tensor cores add 16 products in an
/// order of their own: in bfloat16 the inputs of the first product are small multiples of 1/64, whose sums are exact, so the hidden values still
/// have the same bits; the output may differ as far as two orders of one sum may, and by the roundings of y and of the result that follow.
/// </remarks>
public abstract class SimpleExperts(Backend subject)
{
    private const int Experts = 5;
    private readonly CudaBackend _cuda = (CudaBackend)subject;
    private readonly RouterSpec _spec = new() { Experts = Experts, TopK = 3, Nulls = [new(NullKind.Zero, 1), new(NullKind.Identity, 2)] };

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(33, 17, 9)]
    [InlineData(90, 72, 40)]
    [InlineData(400, 32, 64)]
    public void FusedLayer_IsTheLayerInPlainLoops(int tokens, int d, int n)
    {
        using var scope = new TensorScope();
        bool exact = _cuda.FloatType == DType.Float32;
        string name = $"simple {tokens} {d} {n} ";
        Routing routing = Routing.Random(name, tokens, _spec.TopK, Experts, 0.4, nulls: 3, hot: true);
        double[] Values(string of, long count, double scale) => exact ? Draw.Normals(name + of, count, scale) : Draw.Grid(name + of, count, scale);
        Tensor x = _cuda.FromDoubles(Values("x", tokens * d, 0.3), tokens, d);
        Tensor w1 = _cuda.FromDoubles(Values("w1", Experts * 2 * n * d, 0.3), Experts, 2 * n, d);
        Tensor w2 = _cuda.FromDoubles(Draw.Normals(name + "w2", Experts * d * n), Experts, d, n);
        Tensor ids = _cuda.From<int>(routing.Ids, tokens, _spec.TopK), weights = _cuda.WideFromDoubles(routing.Weights, tokens, _spec.TopK);

        RoutingPlan plan = RoutingPlan.Create(_cuda, tokens, _spec);
        Tensor z = _cuda.Empty(routing.Capacity, 2 * n), a = _cuda.Empty(routing.Capacity, n), y = _cuda.Empty(routing.Capacity, d), output = _cuda.Empty(tokens, d);
        _cuda.Dispatch(ids, weights, null, plan);
        _cuda.ExpertUp(x, w1, plan, z, a);
        _cuda.ExpertDown(a, w2, plan, y);
        _cuda.Combine(y, x, ids, weights, plan, _spec, output);

        Tensor hidden = _cuda.Empty(tokens, _spec.TopK, n), simple = _cuda.Empty(tokens, d);
        _cuda.Fill(hidden, double.NaN);
        _cuda.SimpleHidden(x, w1, ids, hidden);
        _cuda.SimpleOutput(hidden, w2, x, ids, weights, _spec, simple);

        SameHidden(routing, n, hidden.ToDoubles(), a.ToDoubles());
        double[] expected = simple.ToDoubles(), actual = output.ToDoubles();
        if (exact)
        {
            Assert.Equal(expected, actual);
            return;
        }

        double[] magnitudes = Magnitudes(hidden, w2, x, ids, weights);
        double share = 2 * (Tolerance.Gamma(n + _spec.TopK + 1) + (2.1 * Tolerance.U16));
        Assert.All(Enumerable.Range(0, actual.Length), i => Assert.InRange(Math.Abs(actual[i] - expected[i]), 0, share * magnitudes[i]));
        Assert.Contains(magnitudes, magnitude => magnitude > 0);
    }

    /// <summary>The rows of the plan hold what the slots hold, bit for bit; what was NaN before stays so where no real expert was chosen.</summary>
    private static void SameHidden(Routing routing, int n, double[] hidden, double[] rows)
    {
        for (int slot = 0; slot < routing.Capacity; slot++)
        {
            int row = routing.SlotRow[slot];
            double[] own = hidden[(slot * n)..((slot + 1) * n)];
            Assert.Equal(row < 0 ? [.. Enumerable.Repeat(double.NaN, n)] : rows[(row * n)..((row + 1) * n)], own);
        }
    }

    /// <summary>The output with every number replaced by its magnitude: what errors are relative to.</summary>
    private double[] Magnitudes(Tensor hidden, Tensor w2, Tensor x, Tensor ids, Tensor weights)
    {
        using var scope = new TensorScope();
        Tensor Magnitude(Tensor of) => _cuda.FromDoubles(Array.ConvertAll(of.ToDoubles(), Math.Abs), [.. of.Shape]);
        Tensor wide = _cuda.WideFromDoubles(Array.ConvertAll(weights.ToDoubles(), Math.Abs), [.. weights.Shape]), output = _cuda.Empty([.. x.Shape]);
        _cuda.SimpleOutput(Magnitude(hidden), Magnitude(w2), Magnitude(x), ids, wide, _spec, output);
        return output.ToDoubles();
    }
}

/// <summary>Plain loops against fused kernels in float32.</summary>
[Collection(CudaPool.Single)]
public sealed class SimpleExpertsInFloat32(BackendPool pool) : SimpleExperts(pool.Cuda.Float32);

/// <summary>Plain loops against fused kernels in bfloat16.</summary>
[Collection(CudaPool.Half)]
public sealed class SimpleExpertsInBFloat16(BackendPool pool) : SimpleExperts(pool.Cuda.BFloat16);
