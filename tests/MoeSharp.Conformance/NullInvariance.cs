using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>A layer with null slots is the layer without them, bit for bit: outputs and all gradients.</summary>
public abstract class NullInvariance(Backend subject)
{
    private const int Hidden = 40;
    private const int Width = 24;
    private const int Experts = 6;

    [Theory]
    [InlineData(1)]
    [InlineData(37)]
    [InlineData(300)]
    public void FourSlotsOfWhichTwoAreNull_IsTwoSlots(int tokens)
    {
        Routing two = Routing.Random($"null invariance {tokens}", tokens, 2, Experts, 0);
        (int[] ids, double[] weights) = WithNulls(two, tokens);
        ExpertLayer.Inputs inputs = Inputs(tokens);

        ExpertLayer with = ExpertLayer.Run(subject, new() { Experts = Experts, TopK = 4, Nulls = [new(NullKind.Zero, 3)] }, ids, weights, inputs);
        ExpertLayer without = ExpertLayer.Run(subject, new() { Experts = Experts, TopK = 2 }, two.Ids, two.Weights, inputs);

        Bits.Same(without.Output, with.Output);
        Bits.Same(without.DX, with.DX);
        Bits.Same(without.DW1, with.DW1);
        Bits.Same(without.DW2, with.DW2);
        Bits.Same(without.DWeights, [.. Enumerable.Range(0, ids.Length).Where(slot => ids[slot] >= 0).Select(slot => with.DWeights[slot])]);
        Assert.All(Enumerable.Range(0, ids.Length).Where(slot => ids[slot] < 0), slot => Assert.Equal(0, with.DWeights[slot]));
    }

    [Fact]
    public void AllNull_OutputAndEveryGradientAreZero()
    {
        const int Tokens = 33;
        int[] ids = [.. Enumerable.Repeat(-1, Tokens * 2)];
        ExpertLayer layer = ExpertLayer.Run(
            subject, new() { Experts = Experts, TopK = 2, Nulls = [new(NullKind.Zero, 3)] }, ids, new double[Tokens * 2], Inputs(Tokens));
        foreach (double[] values in (double[][])[layer.Output, layer.DX, layer.DW1, layer.DW2, layer.DWeights])
        {
            Assert.All(values, value => Assert.Equal(0, value));
        }
    }

    [Fact]
    public void IdentityNulls_AddTheTokenTimesTheirWeight()
    {
        const int Tokens = 5;
        ExpertLayer.Inputs inputs = Inputs(Tokens);
        int[] ids = [.. Enumerable.Range(0, Tokens).SelectMany(_ => (int[])[-1, -2])];
        double[] weights = [.. Enumerable.Repeat(0.25, ids.Length)];
        ExpertLayer layer = ExpertLayer.Run(
            subject, new() { Experts = Experts, TopK = 2, Nulls = [new(NullKind.Identity, 2)] }, ids, weights, inputs);
        Assert.Equal(Array.ConvertAll(Stored(inputs.X), x => x / 2), layer.Output);
        Assert.Equal(Array.ConvertAll(Stored(inputs.DOut), g => g / 2), layer.DX);
    }

    /// <summary>The values as the subject holds them.</summary>
    private double[] Stored(double[] values) => subject.FloatType == DType.BFloat16 ? Array.ConvertAll(values, Tolerance.ToBFloat16) : values;

    /// <summary>Two null slots per token, at places that differ from token to token; the order of the real slots stays.</summary>
    private static (int[] Ids, double[] Weights) WithNulls(Routing two, int tokens)
    {
        int[] ids = [.. Enumerable.Range(0, tokens * 4).Select(i => -1 - (i % 3))];
        var weights = new double[tokens * 4];
        for (int t = 0; t < tokens; t++)
        {
            int first = t % 3, second = first + 1 + (t % (3 - first));
            (ids[(4 * t) + first], weights[(4 * t) + first]) = (two.Ids[2 * t], two.Weights[2 * t]);
            (ids[(4 * t) + second], weights[(4 * t) + second]) = (two.Ids[(2 * t) + 1], two.Weights[(2 * t) + 1]);
        }

        return (ids, weights);
    }

    private static ExpertLayer.Inputs Inputs(int tokens) => new(
        tokens, Hidden, Width, Draw.Normals("x", tokens * Hidden), Draw.Normals("w1", Experts * 2 * Width * Hidden, 0.2),
        Draw.Normals("w2", Experts * Hidden * Width, 0.2), Draw.Normals("dOut", tokens * Hidden));
}

/// <summary>Null invariance of the oracle.</summary>
public sealed class NullInvarianceOnReference(BackendPool pool) : NullInvariance(pool.Reference);

/// <summary>Null invariance of the CPU backend.</summary>
public sealed class NullInvarianceOnCpu(BackendPool pool) : NullInvariance(pool.Cpu);

public sealed class NullInvarianceOnCpu16(BackendPool pool) : NullInvariance(pool.Cpu16);
