using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>The rules of the choice, each by a small example that can be checked by hand.</summary>
public abstract class GateRules(Backend subject)
{
    private static readonly RouterSpec s_plain = new() { Experts = 5, TopK = 3 };
    private static readonly RouterSpec s_nulls = new() { Experts = 3, TopK = 3, Nulls = [new(NullKind.Zero, 4)] };

    /// <summary>All routers.</summary>
    public static TheoryData<string> Routers { get; } = [.. RouterSpecs.All.Keys];

    [Fact]
    public void EqualLogits_LowerSlotsWin() => Assert.Equal([0, 1, 2], Ids(s_plain, [2, 2, 2, 2, 2]));

    [Fact]
    public void ZerosOfBothSigns_AreEqual() => Assert.Equal([0, 1, 2], Ids(s_plain, [-0.0, 0, -0.0, 0, -1]));

    [Fact]
    public void NaN_IsChosenAfterEveryNumber() => Assert.Equal([4, 1, 0], Ids(s_plain, [double.NaN, double.NegativeInfinity, double.NaN, double.NaN, -3]));

    [Fact]
    public void AllNaN_LowerSlots() => Assert.Equal([0, 1, 2], Ids(s_plain, [double.NaN, double.NaN, double.NaN, double.NaN, double.NaN]));

    [Fact]
    public void Infinity_IsChosenFirst() => Assert.Equal([3, 1, 4], Ids(s_plain, [0, 2, -1, double.PositiveInfinity, 1]));

    [Fact]
    public void RealExpert_WinsATieWithANull() => Assert.Equal([1, 0, -1], Ids(s_nulls, [1, 2, 0.5, 1]));

    [Fact]
    public void SharedNullLogit_StandsForAllItsCopies() => Assert.Equal([1, -1, -2], Ids(s_nulls, [0, 2, 0.5, 1]));

    [Fact]
    public void FewerCopiesThanSlots_TheRestIsReal() =>
        Assert.Equal([-1, 1, 0], Ids(s_nulls with { Nulls = [new(NullKind.Zero, 1)] }, [0, 2, -1, 9]));

    [Fact]
    public void GroupThatIsLeftOut_LosesEvenAgainstNegativeScores()
    {
        var spec = new RouterSpec
        {
            Experts = 4, TopK = 2, Score = ScoreFunction.Sigmoid, SelectionBias = SelectionBias.Score, GroupCount = 2, GroupsKept = 1, GroupScore = GroupScore.TopTwoSum,
        };

        // Group 0 has the best expert, group 1 the better pair; all biased scores are negative.
        Assert.Equal([2, 3], Ids(spec, [3, -3, 1, 1], [-2, -2, -1.75, -1.75]));
    }

    [Fact]
    public void EqualGroups_TheLowerIsKept() =>
        Assert.Equal([1, 0], Ids(new RouterSpec { Experts = 4, TopK = 2, GroupCount = 2, GroupsKept = 1 }, [0, 1, 1, 0]));

    [Fact]
    public void SelectionBias_ChoosesButDoesNotWeigh()
    {
        RouterSpec spec = new() { Experts = 3, TopK = 1, Renormalize = Renormalize.None, SelectionBias = SelectionBias.Logit };
        OpRun run = Run(spec, [1, 1, 1], [0, 0, 5]);
        Assert.Equal([2], run["ids"]);
        Assert.Equal(1 / 3.0, run["weights"][0], 1e-6);
    }

    [Fact]
    public void Relu_TakesThePositiveLogits_AndWeighsByThem()
    {
        OpRun run = Run(RouterSpec.WithRelu(4, 3), [-1, 0.5, 0, 2, -1, -2, 0, double.NaN, 4, 3, 2, 1]);
        Assert.Equal([3, 1, -1, -1, -1, -1, 0, 1, 2], run["ids"]);
        Assert.Equal([2, 0.5, 0, 0, 0, 0, 4, 3, 2], run["weights"]);
        Assert.Equal([4, 3.5, 2, 3], run["probabilitySums"]);
    }

    [Theory]
    [InlineData(0.45, 1)]
    [InlineData(0.6, 2)]
    [InlineData(0.8, 3)]
    [InlineData(1.0, 3)]
    public void Threshold_TakesTheFewestSlotsThatReachIt(double threshold, int filled)
    {
        // Probabilities 0.5, 0.25, 0.125, 0.125 up to rounding, at most three slots.
        double half = Math.Log(2);
        OpRun run = Run(RouterSpec.WithThreshold(4, threshold, 3), [-half, -2 * half, 0.0001, -2 * half]);
        Assert.Equal(((int[])[2, 0, 1]).Select((id, rank) => rank < filled ? id : -1.0), run["ids"]);
        Assert.All(run["weights"].Skip(filled), weight => Assert.Equal(0, weight));
        Assert.Equal(filled, run["counts"].Sum());
        Assert.Equal([0, 0, 1, 0], run["topCounts"]);
    }

    [Fact]
    public void RenormalizeChosen_CountsChosenZeroNulls_ExceptZeroDoesNot()
    {
        double[] chosen = Run(s_nulls with { TopK = 2, Renormalize = Renormalize.Chosen }, [1, -5, -5, 1])["weights"];
        double[] except = Run(s_nulls with { TopK = 2 }, [1, -5, -5, 1])["weights"];
        Assert.Equal(0.5, chosen[0], 1e-6);
        Assert.Equal(1, except[0], 1e-6);
        Assert.Equal((0, 0), (chosen[1], except[1]));
    }

    [Fact]
    public void RealExpertsFarBelowTheNull_KeepExactWeights()
    {
        // Their probabilities underflow; a softmax over the chosen real logits does not.
        RouterSpec spec = new() { Experts = 2, TopK = 3, Nulls = [new(NullKind.Zero, 1)] };
        OpRun run = Run(spec, [-300, -300, 0]);
        Assert.Equal([-1, 0, 1], run["ids"]);
        Assert.Equal([0, 0.5, 0.5], run["weights"]);
    }

    [Fact]
    public void AllNullToken_HasWeightsZero_AndNoGradientFromThem()
    {
        OpRun run = Run(s_nulls, [-1, -2, -3, 4]);
        Assert.Equal([-1, -2, -3], run["ids"]);
        Assert.Equal([0, 0, 0], run["weights"]);
        Assert.All(Backward(s_nulls, [-1, -2, -3, 4], run, [1, 2, 3]), g => Assert.Equal(0, g));
    }

    [Fact]
    public void TaskLoss_GivesTheNullLogitNoGradient()
    {
        double[] logits = [1, 0.5, -2, 0.25];
        double[] gradient = Backward(s_nulls, logits, Run(s_nulls, logits), [1, -2, 3]);
        Assert.Equal(0, gradient[3]);
        Assert.NotEqual(0, gradient[0]);
    }

    [Fact]
    public void NoTokens_LossesAreZero()
    {
        OpRun run = Run(s_nulls, []);
        Assert.Equal((0, 0), (run["balanceLoss"][0], run["zLoss"][0]));
        Assert.All(run["counts"], count => Assert.Equal(0, count));
        Assert.All(run["probabilitySums"], sum => Assert.Equal(0, sum));
    }

    [Fact]
    public void SigmoidScoresThatAllUnderflow_GiveZeros()
    {
        RouterSpec spec = new() { Experts = 3, TopK = 2, Score = ScoreFunction.Sigmoid, Renormalize = Renormalize.Chosen };
        double[] logits = [-2000, -2000, -3000];
        OpRun run = Run(spec, logits);
        Assert.Equal([0, 1], run["ids"]);
        Assert.Equal([0, 0], run["weights"]);
        Assert.Equal([0, 0, 0], run["probabilitySums"]);
        Assert.Equal([0, 0, 0], Backward(spec, logits, run, [1, 2]));
    }

    [Fact]
    public void EvenChoice_BalanceLossIsOne()
    {
        // Four tokens, each favours another expert by the same margin.
        RouterSpec spec = new() { Experts = 4, TopK = 1 };
        Assert.Equal(1, Run(spec, [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2])["balanceLoss"][0], 1e-6);
    }

    [Theory]
    [MemberData(nameof(Routers))]
    public void AnyBits_GiveDistinctValidIds(string router)
    {
        RouterSpec spec = RouterSpecs.All[router];
        const int Tokens = 200;
        double[] strange = [double.NaN, double.PositiveInfinity, double.NegativeInfinity, 0, -0.0, 3e38, -3e38, 1e-40, 1, -1];
        double[] logits = Array.ConvertAll(Draw.Integers("strange" + router, Tokens * spec.Columns, strange.Length), i => strange[i]);
        double[] ids = Run(spec, logits, new double[spec.Columns])["ids"];
        for (int t = 0; t < Tokens; t++)
        {
            double[] own = [.. ids[(t * spec.TopK)..((t + 1) * spec.TopK)].Where(id => id != spec.EmptyId)];
            Assert.Equal(own.Length, own.Distinct().Count());
            Assert.InRange(own.Length, spec.Score == ScoreFunction.Relu ? 0 : spec.Selection == Selection.Threshold ? 1 : spec.TopK, spec.TopK);
            Assert.All(own, id => Assert.InRange(id, -spec.NullSlots, spec.Experts - 1));
        }
    }

    private int[] Ids(RouterSpec spec, double[] logits, double[]? bias = null) => Array.ConvertAll(Run(spec, logits, bias)["ids"], x => (int)x);

    private OpRun Run(RouterSpec spec, double[] logits, double[]? bias = null)
    {
        long t = logits.Length / spec.Columns;
        bool biased = spec.SelectionBias != SelectionBias.None, tops = spec.BalanceLoad == BalanceLoad.Top1;
        OpTensor[] biases = biased ? [OpTensor.In("selectionBias", bias ?? new double[spec.Columns], spec.Columns)] : [];
        return new OpCase(
            "Gate",
            [
                OpTensor.In("logits", logits, t, spec.Columns), .. biases, OpTensor.OutIds("ids", t, spec.TopK), OpTensor.Out("weights", t, spec.TopK),
                OpTensor.OutIds("counts", spec.Columns), OpTensor.OutIds("chunkCounts", RoutingPlan.Chunks(t), spec.Experts), OpTensor.Out("probabilitySums", spec.Columns), OpTensor.Out("balanceLoss", 1), OpTensor.Out("zLoss", 1),
                .. tops ? [OpTensor.OutIds("topCounts", spec.Columns)] : (OpTensor[])[],
            ],
            (backend, s) => backend.Gate(
                s["logits"], biased ? s["selectionBias"] : null, spec,
                new GateResult(s["ids"], s["weights"], s["counts"], s["chunkCounts"], s["probabilitySums"], s["balanceLoss"], s["zLoss"], tops ? s["topCounts"] : null)),
            Tolerance.Exact).RunOn(subject, Poison.Loud);
    }

    private double[] Backward(RouterSpec spec, double[] logits, OpRun forward, double[] dWeights)
    {
        long t = logits.Length / spec.Columns;
        return new OpCase(
            "GateBackward",
            [
                OpTensor.In("logits", logits, t, spec.Columns), OpTensor.Ids("ids", Array.ConvertAll(forward["ids"], x => (int)x), t, spec.TopK),
                OpTensor.In("dWeights", dWeights, t, spec.TopK), OpTensor.Ids("counts", Array.ConvertAll(forward["counts"], x => (int)x), spec.Columns),
                OpTensor.In("dBalanceLoss", [0], 1), OpTensor.In("dZLoss", [0], 1), OpTensor.Out("dLogits", t, spec.Columns),
            ],
            (backend, s) => backend.GateBackward(s["logits"], s["ids"], s["dWeights"], s["counts"], s["dBalanceLoss"], s["dZLoss"], spec, s["dLogits"]),
            Tolerance.Exact).RunOn(subject, Poison.Loud)["dLogits"];
    }
}

/// <summary>The oracle follows the rules.</summary>
public sealed class GateRulesOnReference(BackendPool pool) : GateRules(pool.Reference);

/// <summary>The CPU backend follows the rules.</summary>
public sealed class GateRulesOnCpu(BackendPool pool) : GateRules(pool.Cpu);

public sealed class GateRulesOnCpu16(BackendPool pool) : GateRules(pool.Cpu16);
