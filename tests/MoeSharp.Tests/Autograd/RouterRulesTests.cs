using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>What each router promises about its choice: counts, ranges, distinct experts, the same bits again.</summary>
public sealed class RouterRulesTests : AutogradTest
{
    private const int Tokens = 40;
    private const int Hidden = 6;
    private const int Experts = 5;

    public static TheoryData<string> Names => [.. RouterFamily.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void Choice_IsInRangeDistinctCountedAndTheSameAgain(string name)
    {
        using MoeLayer layer = Layer(name);
        Choice first = Choose(layer), again = Choose(layer);
        int[][] ids = first.Ids;
        double[][] weights = first.Weights;
        RouterSpec spec = layer.Router.Spec;
        for (int t = 0; t < Tokens; t++)
        {
            int[] real = [.. ids[t].Where(id => id >= 0)];
            Assert.Equal(real.Length, real.Distinct().Count());
            Assert.All(ids[t], id => Assert.InRange(id, spec.EmptyId, Experts - 1));
            Assert.All(weights[t], weight => Assert.InRange(weight, 0, spec.Score == ScoreFunction.Relu && name != "hash" ? double.MaxValue : 1 + 1e-12));
            Assert.All(ids[t].Zip(weights[t]).Where(slot => slot.First < 0), slot => Assert.Equal(0.0, slot.Second));
        }

        int rows = layer.Options.Router.IsCausal ? first.Counts.Take(Experts).Sum() : ids.Sum(slots => slots.Count(id => id >= 0));
        Assert.Equal(ids.Sum(slots => slots.Count(id => id >= 0)), rows);
        Assert.Equal(rows, first.ChunkCounts.Sum());
        Assert.Equal(first.Ids, again.Ids);
        Assert.Equal(first.Weights, again.Weights);
    }

    [Theory]
    [InlineData(1, 8)]
    [InlineData(2, 16)]
    [InlineData(5, 40)]
    public void ExpertChoice_EveryExpertTakesItsBestTokens(int mean, int capacity)
    {
        using MoeLayer layer = Layer(RouterSpec.WithExpertChoice(Experts, mean));
        Assert.False(layer.Options.IsCausal);
        using Tensor x = Random("x", Tokens, Hidden);
        using var tape = new Tape(Backend) { PoisonRented = true };
        MoeOutput output = layer.Forward(tape, tape.Constant(x));
        double[][] scores = [.. Rows(output.Logits!.Value).Select(Softmax)], weights = Rows(output.Routing.Weights);
        int[][] ids = Ids(output.Routing);
        Assert.Equal(Experts * capacity, output.Plan.Capacity);
        for (int e = 0; e < Experts; e++)
        {
            int[] expected = [.. Enumerable.Range(0, Tokens).OrderByDescending(t => scores[t][e]).Take(capacity).Order()];
            Assert.Equal(expected, Enumerable.Range(0, Tokens).Where(t => ids[t].Contains(e)));
            Assert.All(expected, t => Assert.Equal(scores[t][e], weights[t][Array.IndexOf(ids[t], e)], 1e-14));
        }
    }

    [Fact]
    public void Hash_FollowsTheIdAlone()
    {
        using MoeLayer layer = Layer(RouterSpec.WithHash(Experts, 2));
        Choice first = Choose(layer, "x"), other = Choose(layer, "y");
        Assert.Equal(first.Ids, other.Ids);
        Assert.All(first.Weights, weights => Assert.Equal([0.5, 0.5], weights));
        int[][] ids = first.Ids;
        Assert.All(Enumerable.Range(0, Tokens), t => Assert.Equal(ids[t % 10], ids[t]));
        Assert.True(ids.Take(10).Select(slots => (slots[0], slots[1])).Distinct().Count() > 3);
        using var tape = new Tape(Backend, record: false);
        using Tensor x = Random("x", Tokens, Hidden);
        Assert.Contains(
            "got none; give RouterContext.TokenIds",
            Assert.Throws<ArgumentException>(() => layer.Forward(tape, tape.Constant(x))).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Cosine_DoesNotSeeLengths()
    {
        using MoeLayer layer = Layer("cosine");
        using Tensor x = Random("x", Tokens, Hidden), longer = Backend.FromDoubles([.. x.ToDoubles().Select(value => 7 * value)], Tokens, Hidden);
        using var tape = new Tape(Backend, record: false);
        double[] logits = layer.Forward(tape, tape.Constant(x)).Logits!.Value.ToDoubles(), others = layer.Forward(tape, tape.Constant(longer)).Logits!.Value.ToDoubles();

        // 1 / 0.3 times a cosine; the norm's epsilon of 1e-12 moves it by less than that.
        Assert.All(logits, logit => Assert.InRange(Math.Abs(logit), 0, (1 / 0.3) + 1e-9));
        Assert.All(logits.Zip(others), pair => Assert.Equal(pair.First, pair.Second, 1e-9));
    }

    [Fact]
    public void NoisyTopK_DrawsByPassAndOnlyInTraining()
    {
        using MoeLayer layer = Layer("noisy-top-k");
        int[][] quiet = Choose(layer).Ids, first = Choose(layer, pass: 1).Ids, second = Choose(layer, pass: 2).Ids;
        Assert.Equal(quiet, Choose(layer).Ids);
        Assert.Equal(first, Choose(layer, pass: 1).Ids);
        Assert.NotEqual(first, second);
        Assert.NotEqual(quiet, first);
    }

    [Fact]
    public void NoisyBalance_OfEvenLogits_IsSmallAndOfOneExpert_Large()
    {
        // One expert for all: importance (T, 0, ..), so CV^2 = E - 1, and its load is T and that of the others near 0.
        double skewed = Loss(one: 50), even = Loss(one: 0);
        Assert.Equal(2 * (Experts - 1), skewed, 1e-6);
        Assert.InRange(even, 0, 0.2);

        double Loss(double one)
        {
            using Tensor logits = Backend.FromDoubles([.. Enumerable.Range(0, 400 * Experts).Select(i => i % Experts == 0 ? one : 0)], 400, Experts);
            using Tensor spread = Backend.FromDoubles(new double[400 * Experts], 400, Experts);
            using var tape = new Tape(Backend);
            RouterSpec spec = RouterSpec.WithNoise(Experts, 1);
            Variable clean = tape.Constant(logits), wide = tape.Constant(spread), noisy = tape.NoisyLogits(clean, wide, new NoiseRange(3, 4, 5));
            return tape.NoisyBalance(clean, wide, noisy, tape.Gate(noisy, null, spec), spec).Value.ToDoubles()[0];
        }
    }

    [Theory]
    [InlineData("expert-choice")]
    [InlineData("hash")]
    [InlineData("noisy-top-k")]
    public void Validate_WithNullSlots_SaysWhatToLeaveOut(string name)
    {
        RouterSpec spec = RouterFamily.Make(name, Experts, 2) with { Nulls = [new(NullKind.Zero, 2)] };
        Assert.Contains("has no", Assert.Throws<ArgumentException>(() => spec.Validate()).Message, StringComparison.Ordinal);
    }

    private static double[] Softmax(double[] logits) => [.. logits.Select(logit => Math.Exp(logit) / logits.Sum(Math.Exp))];

    private static double[][] Rows(Tensor tensor) => [.. tensor.ToDoubles().Chunk((int)tensor.Shape[1])];

    private static int[][] Ids(GateResult result) => [.. result.Ids.ToArray<int>().Chunk((int)result.Ids.Shape[1])];

    private MoeLayer Layer(string name) => Layer(RouterFamily.Make(name, Experts, 2));

    private MoeLayer Layer(RouterSpec spec) =>
        new(Init, "mlp", new MoeOptions { Hidden = Hidden, ExpertWidth = 4, Router = spec, Vocabulary = 10 }, 0.5);

    private static Choice Read(GateResult result) =>
        new(Ids(result), Rows(result.Weights), result.Counts.ToArray<int>(), result.ChunkCounts.ToArray<int>());

    private Choice Choose(MoeLayer layer, string input = "x", long? pass = null)
    {
        using Tensor x = Random(input, Tokens, Hidden), ids = Ints([.. Enumerable.Range(0, Tokens).Select(t => t % 10)]);
        using var tape = new Tape(Backend, record: false);
        return Read(layer.Forward(tape, tape.Constant(x), new RouterContext { TokenIds = ids, Pass = pass }).Routing);
    }

    /// <summary>What a gate decided, read back.</summary>
    private sealed record Choice(int[][] Ids, double[][] Weights, int[] Counts, int[] ChunkCounts);
}
