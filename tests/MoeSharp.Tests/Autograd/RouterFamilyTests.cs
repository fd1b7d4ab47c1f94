using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>What holds for every way to choose experts: causality where it is promised, and that the order of tokens does not matter.</summary>
public sealed class RouterFamilyTests : AutogradTest
{
    private const int Tokens = 24;
    private const int Hidden = 6;

    public static TheoryData<string> Names => [.. Routers.Keys];

    private static Dictionary<string, MoeOptions> Routers { get; } = new()
    {
        ["top-k"] = Make(RouterSpec.WithNulls(6, 3, 0.5)),
        ["threshold"] = Make(RouterSpec.WithThreshold(6, 0.5, 4)),
        ["threshold, nulls"] = Make(RouterSpec.WithNulls(6, 5, 0.5) with { Selection = Selection.Threshold, Threshold = 0.6 }),
        ["relu"] = Make(RouterSpec.WithRelu(6, 4)),
        ["vq"] = Make(RouterSpec.WithCodes(6, 2)),
        ["vq, codes alone"] = Make(RouterSpec.WithCodes(6, 1) with { Codebook = new() { Codes = 9, Width = 2, Distance = CodeDistance.Cosine, DiscreteOnly = true } }),
        ["top-p"] = Make(RouterSpec.WithTopP(6, 4)),
        ["loss-free"] = Make(RouterSpec.WithLoadBias(6, 3)),
        ["noisy top-k"] = Make(RouterSpec.WithNoise(6, 2)),
        ["cosine"] = Make(RouterFamily.Make("cosine", 6, 2)),
        ["hash"] = Make(RouterSpec.WithHash(6, 2)) with { Vocabulary = 2 * Tokens },
        ["expert choice"] = Make(RouterSpec.WithExpertChoice(6, 2)),
        ["threshold, capacity"] = Make(RouterSpec.WithThreshold(6, 0.5, 4)) with { CapacityFactor = 1 },
    };

    [Theory]
    [MemberData(nameof(Names))]
    public void LaterTokens_DoNotChangeEarlierOnes_WhereTheRouterIsCausal(string name)
    {
        using MoeLayer layer = Layer(Routers[name]);
        using Tensor x = Random("x", Tokens, Hidden);
        double[] before = Output(layer, x), values = x.ToDoubles();
        bool changed = false;
        for (int t = Tokens / 2; t < Tokens; t++)
        {
            double[] other = [.. values];
            other.AsSpan(t * Hidden, Hidden).Fill(3);
            using Tensor late = Backend.FromDoubles(other, Tokens, Hidden);
            changed |= !Output(layer, late, laterIds: t).AsSpan(0, t * Hidden).SequenceEqual(before.AsSpan(0, t * Hidden));
        }

        Assert.Equal(layer.Options.IsCausal, !changed);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void ReversedTokens_GiveReversedOutputs(string name)
    {
        using MoeLayer layer = Layer(Routers[name]);
        using Tensor x = Random("x", Tokens, Hidden), reversed = Backend.FromDoubles(Reversed(x.ToDoubles()), Tokens, Hidden);
        Assert.Equal(Reversed(Output(layer, x)), Output(layer, reversed, backwards: true));
    }

    private static double[] Reversed(double[] rows) => [.. rows.Chunk(Hidden).Reverse().SelectMany(row => row)];

    private static MoeOptions Make(RouterSpec router) => new() { Hidden = Hidden, ExpertWidth = 4, Router = router };

    private double[] Output(MoeLayer layer, Tensor x, int laterIds = Tokens, bool backwards = false)
    {
        int[] order = [.. Enumerable.Range(0, Tokens).Select(t => t < laterIds ? t : t + Tokens)];
        using Tensor ids = Ints(backwards ? [.. order.Reverse()] : order);
        using var tape = new Tape(Backend, record: false);
        return layer.Forward(tape, tape.Constant(x), new RouterContext { TokenIds = ids }).Output.Value.ToDoubles();
    }

    private MoeLayer Layer(MoeOptions options) => new(Init, "moe", options, 0.5);
}
