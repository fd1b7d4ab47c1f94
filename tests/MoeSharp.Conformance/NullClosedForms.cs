using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>
/// Copies of a shared null logit are never made. What stands in their place follows from the equations of arXiv 2601.15370, and each such
/// closed form is checked here: against a router that really has M null logits, or against the equation itself, in double.
/// </summary>
public abstract class NullClosedForms(Backend subject)
{
    private const int Experts = 7;
    private const int Tokens = 60;

    /// <summary>M and K: fewer copies than slots, as many, more; one; all slots of the pool.</summary>
    public static TheoryData<int, int> Pools { get; } = new() { { 1, 3 }, { 2, 5 }, { 4, 4 }, { 9, 3 }, { 9, 1 }, { 3, 10 }, { 300, 4 } };

    [Theory]
    [MemberData(nameof(Pools))]
    public void OneLogitForAllCopies_IsTheRouterWithACopyOfItPerSlot(int copies, int topK)
    {
        RouterSpec shared = Spec(copies, topK), perCopy = shared with { SharedNullLogit = false };
        double[] logits = Logits(copies, topK);
        double[] repeated = [.. logits.Chunk(Experts + 1).SelectMany(row => row[..Experts].Concat(Enumerable.Repeat(row[Experts], copies)))];
        (OpRun one, OpRun many) = (Gate(shared, logits), Gate(perCopy, repeated));
        Assert.Equal(many["ids"], one["ids"]);
        Assert.Equal(many["weights"], one["weights"]);
        Assert.Equal(many["counts"][..Experts], one["counts"][..Experts]);
        Assert.Equal(many["counts"][Experts..].Sum(), one["counts"][Experts]);
        Near(many["probabilitySums"][..(Experts + 1)], one["probabilitySums"]);
        Near(many["balanceLoss"], one["balanceLoss"]);
        Near(many["zLoss"], one["zLoss"]);

        double[] dWeights = Draw.Normals("dw", Tokens * topK);
        double[] dOne = Backward(shared, logits, one, dWeights, 0.75, -0.5), dMany = Backward(perCopy, repeated, many, dWeights, 0.75, -0.5);
        double[] Joined(Func<double, double> value) => [.. dMany.Chunk(Experts + copies).SelectMany(row => row[..Experts].Append(row[Experts..].Sum(value)).Select((x, c) => c == Experts ? x : value(x)))];
        Near(Joined(x => x), dOne, Joined(Math.Abs));
    }

    [Theory]
    [MemberData(nameof(Pools))]
    public void RealSlots_AreTheLargestRealLogits_AsManyAsReachTheNullLogit(int copies, int topK)
    {
        // r_t = clamp(#{i : z_i >= z_0}, max(0, K - M), min(K, E)).
        double[] logits = Logits(copies, topK);
        OpRun run = Gate(Spec(copies, topK), logits);
        for (int t = 0; t < Tokens; t++)
        {
            double[] z = logits[(t * (Experts + 1))..((t + 1) * (Experts + 1))], ids = run["ids"][(t * topK)..((t + 1) * topK)];
            int real = Math.Clamp(z[..Experts].Count(logit => logit >= z[Experts]), Math.Max(0, topK - copies), Math.Min(topK, Experts));
            Assert.Equal(Enumerable.Range(0, Experts).OrderByDescending(i => z[i]).Take(real).Select(i => (double)i), ids.Where(id => id >= 0));
            Assert.Equal(Enumerable.Range(1, topK - real).Select(j => (double)-j), ids.Where(id => id < 0));
        }
    }

    [Theory]
    [MemberData(nameof(Pools))]
    public void Denominator_IsTheRealTermsPlusMTimesTheNullTerm(int copies, int topK)
    {
        double[] logits = Logits(copies, topK);
        OpRun run = Gate(Spec(copies, topK), logits);
        double[] sums = new double[Experts + 1];
        double squares = 0;
        foreach (double[] z in Rows(logits))
        {
            double denominator = Denominator(z, copies);
            squares += Math.Pow(Math.Log(denominator), 2) / Tokens;
            for (int c = 0; c <= Experts; c++)
            {
                sums[c] += Math.Exp(z[c]) / denominator;
            }
        }

        Near(sums, run["probabilitySums"]);
        Near([squares], run["zLoss"]);
    }

    [Theory]
    [MemberData(nameof(Pools))]
    public void BalanceLoss_AndItsGradient_AreTheClosedForms(int copies, int topK)
    {
        RouterSpec spec = Spec(copies, topK);
        double[] logits = Logits(copies, topK);
        OpRun run = Gate(spec, logits);
        int slots = Experts + copies;
        double[] f = Array.ConvertAll(run["counts"], count => count / (Tokens * topK));

        // L = (N + M) [ sum over real i of f_i Pbar_i + F_0 pbar_0 ], F_0 the share of all null slots, pbar_0 the mean probability of one copy.
        double[][] p = [.. Rows(logits).Select(z => Array.ConvertAll(z, logit => Math.Exp(logit) / Denominator(z, copies)))];
        Near([slots * Enumerable.Range(0, Experts + 1).Sum(c => f[c] * p.Average(row => row[c]))], run["balanceLoss"]);

        // dL/dz_j = (N + M) / T * P_j (f_j - mean), for the null logit p_0 (F_0 - M mean), with mean = sum of f_i P_i + F_0 p_0.
        // All slots chosen (K = N + M) make it zero, so errors are measured against the same sum without signs.
        double[] Gradient(int sign) =>
        [
            .. p.SelectMany(row =>
            {
                double mean = Enumerable.Range(0, Experts + 1).Sum(c => f[c] * row[c]);
                return row.Select((share, c) => (double)slots / Tokens * share * (f[c] + (sign * (c == Experts ? copies : 1) * mean)));
            }),
        ];
        Near(Gradient(-1), Backward(spec, logits, run, new double[Tokens * topK], 1, 0), Gradient(1));
    }

    [Theory]
    [MemberData(nameof(Pools))]
    public void TaskLoss_NeverReachesTheNullLogit_NorTheRouterWithOneRealSlotOrNone(int copies, int topK)
    {
        RouterSpec spec = Spec(copies, topK);
        double[] logits = Logits(copies, topK);
        OpRun run = Gate(spec, logits);
        double[][] gradients = [.. Rows(Backward(spec, logits, run, Draw.Normals("dw", Tokens * topK), 0, 0))];
        for (int t = 0; t < Tokens; t++)
        {
            int real = run["ids"][(t * topK)..((t + 1) * topK)].Count(id => id >= 0);
            Assert.Equal(0, gradients[t][Experts]);
            Assert.Equal(real <= 1, Array.TrueForAll(gradients[t], gradient => gradient == 0));
        }
    }

    [Fact]
    public void FourSlotsWithTwoRealAndTwoNullForEveryToken_AreTwoSlots_BitForBit()
    {
        // Real logits of a token: -1.5, -1, .. 1.5 in another order for each, give or take 1/8. So the null logit lies between the second and the third.
        const int Hidden = 24, Width = 16;
        RouterSpec four = Spec(Experts, 4), two = new() { Experts = Experts, TopK = 2 };
        double[] order = Draw.Normals("order", Tokens * Experts);
        int[] jitter = Draw.Integers("jitter", Tokens * Experts, 5);
        double[] logits =
        [
            .. order.Chunk(Experts).SelectMany((row, t) =>
                row.Select((x, i) => (row.Count(y => y < x) * 0.5) - 1.5 + ((jitter[(t * Experts) + i] - 2) / 16.0)).Append(0.75)),
        ];
        (OpRun with, OpRun without) = (Gate(four, logits), Gate(two, [.. Rows(logits).SelectMany(row => row[..Experts])]));
        var inputs = new ExpertLayer.Inputs(
            Tokens, Hidden, Width, Draw.Normals("x", Tokens * Hidden), Draw.Normals("w1", Experts * 2 * Width * Hidden, 0.2),
            Draw.Normals("w2", Experts * Hidden * Width, 0.2), Draw.Normals("dOut", Tokens * Hidden));
        ExpertLayer Layer(RouterSpec spec, OpRun gate) => ExpertLayer.Run(subject, spec, Array.ConvertAll(gate["ids"], id => (int)id), gate["weights"], inputs);
        (ExpertLayer layerWith, ExpertLayer layerWithout) = (Layer(four, with), Layer(two, without));

        Assert.Equal(2 * Tokens, with["ids"].Count(id => id < 0));
        Assert.Equal(without["ids"], with["ids"].Where(id => id >= 0));
        Assert.Equal(layerWithout.Output, layerWith.Output);
        Assert.Equal(layerWithout.DX, layerWith.DX);
        Assert.Equal(layerWithout.DW1, layerWith.DW1);
        Assert.Equal(layerWithout.DW2, layerWith.DW2);
        double[] dWith = Backward(four, logits, with, layerWith.DWeights, 0, 0);
        double[] dWithout = Backward(two, [.. Rows(logits).SelectMany(row => row[..Experts])], without, layerWithout.DWeights, 0, 0);
        Assert.Equal(dWithout, Rows(dWith).SelectMany(row => row[..Experts]));
        Assert.All(Rows(dWith), row => Assert.Equal(0, row[Experts]));
    }

    [Fact]
    public void BalanceLossOfAStep_WithoutOtherLoads_IsTheGatesOwn_BitForBit()
    {
        RouterSpec spec = Spec(9, 3);
        OpRun gate = Gate(spec, Logits(9, 3));
        OpRun step = new OpCase(
            "BalanceLoss",
            [
                OpTensor.Ids("loads", Array.ConvertAll(gate["counts"], x => (int)x), spec.Columns), OpTensor.Ids("otherLoads", new int[spec.Columns], spec.Columns),
                OpTensor.In("probabilitySums", gate["probabilitySums"], spec.Columns), OpTensor.OutIds("stepLoads", spec.Columns), OpTensor.Out("balanceLoss", 1),
            ],
            (backend, s) => backend.BalanceLoss(s["loads"], s["otherLoads"], s["probabilitySums"], Tokens, spec, s["stepLoads"], s["balanceLoss"]),
            Tolerance.Exact).RunOn(subject, Poison.Loud);
        Assert.Equal(gate["counts"], step["stepLoads"]);
        Assert.Equal(gate["balanceLoss"], step["balanceLoss"]);
    }

    private static RouterSpec Spec(int copies, int topK) => new() { Experts = Experts, TopK = topK, Nulls = [new(NullKind.Zero, copies)] };

    /// <summary>[T, E + 1], multiples of 1/16 below 8, which are exact in bfloat16: every backend compares the same numbers, equal ones among them.</summary>
    private static double[] Logits(int copies, int topK) =>
        Array.ConvertAll(Draw.Normals($"closed {copies} {topK}", Tokens * (Experts + 1), 1.5), x => Math.Clamp(Math.Round(x * 16), -127, 127) / 16);

    private static IEnumerable<double[]> Rows(double[] logits) => logits.Chunk(Experts + 1);

    private static double Denominator(double[] z, int copies) => z[..Experts].Sum(Math.Exp) + (copies * Math.Exp(z[Experts]));

    /// <summary>
    /// Equal up to some hundred roundings of sums of E + M terms in the backend's wide type, against the largest value; gradients of
    /// bfloat16 logits are stored in bfloat16, each term of a sum of them by itself.
    /// </summary>
    private void Near(double[] expected, double[] actual, double[]? magnitudes = null)
    {
        magnitudes ??= Array.ConvertAll(expected, Math.Abs);
        double unit = subject.WideType == DType.Float64 ? Math.Pow(2, -53) : Tolerance.U;
        double stored = subject.FloatType == DType.BFloat16 ? 2 * Tolerance.U16 : 0;
        double scale = magnitudes.Max();
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.Equal(expected[i], actual[i], (500 * unit * scale) + (stored * magnitudes[i]));
        }
    }

    private OpRun Gate(RouterSpec spec, double[] logits)
    {
        long t = logits.Length / spec.Columns;
        return new OpCase(
            "Gate",
            [
                OpTensor.In("logits", logits, t, spec.Columns), OpTensor.OutIds("ids", t, spec.TopK), OpTensor.Out("weights", t, spec.TopK),
                OpTensor.OutIds("counts", spec.Columns), OpTensor.OutIds("chunkCounts", RoutingPlan.Chunks(t), spec.Experts),
                OpTensor.Out("probabilitySums", spec.Columns), OpTensor.Out("balanceLoss", 1), OpTensor.Out("zLoss", 1),
            ],
            (backend, s) => backend.Gate(
                s["logits"], null, spec,
                new GateResult(s["ids"], s["weights"], s["counts"], s["chunkCounts"], s["probabilitySums"], s["balanceLoss"], s["zLoss"])),
            Tolerance.Exact).RunOn(subject, Poison.Loud);
    }

    private double[] Backward(RouterSpec spec, double[] logits, OpRun forward, double[] dWeights, double dBalance, double dZ)
    {
        long t = logits.Length / spec.Columns;
        return new OpCase(
            "GateBackward",
            [
                OpTensor.In("logits", logits, t, spec.Columns), OpTensor.Ids("ids", Array.ConvertAll(forward["ids"], x => (int)x), t, spec.TopK),
                OpTensor.In("dWeights", dWeights, t, spec.TopK), OpTensor.Ids("loads", Array.ConvertAll(forward["counts"], x => (int)x), spec.Columns),
                OpTensor.In("dBalanceLoss", [dBalance], 1), OpTensor.In("dZLoss", [dZ], 1), OpTensor.Out("dLogits", t, spec.Columns),
            ],
            (backend, s) => backend.GateBackward(s["logits"], s["ids"], s["dWeights"], s["loads"], s["dBalanceLoss"], s["dZLoss"], spec, s["dLogits"]),
            Tolerance.Exact).RunOn(subject, Poison.Loud)["dLogits"];
    }
}

/// <summary>The closed forms hold for the oracle, which makes every copy.</summary>
public sealed class NullClosedFormsOnReference(BackendPool pool) : NullClosedForms(pool.Reference);

/// <summary>The closed forms on the CPU backend.</summary>
public sealed class NullClosedFormsOnCpu(BackendPool pool) : NullClosedForms(pool.Cpu);

public sealed class NullClosedFormsOnCpu16(BackendPool pool) : NullClosedForms(pool.Cpu16);
