using MoeSharp.Core;
using MoeSharp.Reference;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>The backward ops of the oracle's MoE layer against difference quotients: the gate for every router, and the experts as a chain.</summary>
public sealed class ReferenceMoeGradients
{
    private const int Tokens = 4;

    /// <summary>All routers but the wide ones, which repeat the rules of the others with more columns to vary.</summary>
    public static TheoryData<string> Routers { get; } = [.. RouterSpecs.All.Where(pair => pair.Value.Columns <= 40).Select(pair => pair.Key)];

    [Theory]
    [MemberData(nameof(Routers))]
    public void Gate_WeightsAndLosses(string router)
    {
        RouterSpec spec = RouterSpecs.All[router];

        // Continuous logits: no ties except between copies, so that a small step does not change the choice.
        double[] logits = Draw.Normals("gradient" + router, Tokens * spec.Columns), dWeights = Draw.Normals("dw", Tokens * spec.TopK);
        OpRun at = Gate(spec, logits);
        Differences.Check("weights of " + router, logits, v => Differences.Dot(dWeights, SameChoice(at, Gate(spec, v))["weights"]), Backward(spec, logits, at, dWeights, 0, 0));
        var none = new double[dWeights.Length];
        Differences.Check("balance loss of " + router, logits, v => 1.5 * SameChoice(at, Gate(spec, v))["balance"][0], Backward(spec, logits, at, none, 1.5, 0));
        Differences.Check("z-loss of " + router, logits, v => 0.5 * SameChoice(at, Gate(spec, v))["z"][0], Backward(spec, logits, at, none, 0, 0.5));
        double[] all = Backward(spec, logits, at, dWeights, 1.5, 0.5);
        double[] sum = [.. Backward(spec, logits, at, dWeights, 1.5, 0).Zip(Backward(spec, logits, at, none, 0, 0.5), (a, b) => a + b)];
        Assert.All(all.Zip(sum), pair => Assert.Equal(pair.First, pair.Second, 1e-12));
    }

    [Fact]
    public void Experts_WithRealZeroAndIdentitySlots()
    {
        const int Hidden = 4, Width = 3, Experts = 3;
        var spec = new RouterSpec { Experts = Experts, TopK = 3, Nulls = [new(NullKind.Zero, 1), new(NullKind.Identity, 2)], SharedNullLogit = false };
        int[] ids = [0, 2, -1, 1, -2, -3, 2, 1, 0, -1, 2, -2];
        double[] weights = Draw.Normals("w", ids.Length);
        var inputs = new ExpertLayer.Inputs(
            Tokens, Hidden, Width, Draw.Normals("x", Tokens * Hidden), Draw.Normals("w1", Experts * 2 * Width * Hidden), Draw.Normals("w2", Experts * Hidden * Width),
            Draw.Normals("dout", Tokens * Hidden));
        using var backend = new ReferenceBackend();
        ExpertLayer Layer(double[] w, ExpertLayer.Inputs i) => ExpertLayer.Run(backend, spec, ids, w, i);
        double J(double[] w, ExpertLayer.Inputs i) => Differences.Dot(inputs.DOut, Layer(w, i).Output);

        ExpertLayer at = Layer(weights, inputs);
        Differences.Check("x", inputs.X, v => J(weights, inputs with { X = v }), at.DX);
        Differences.Check("w1", inputs.W1, v => J(weights, inputs with { W1 = v }), at.DW1);
        Differences.Check("w2", inputs.W2, v => J(weights, inputs with { W2 = v }), at.DW2);
        Differences.Check("weights", weights, v => J(v, inputs), at.DWeights);
    }

    [Fact]
    public void ConstantExperts()
    {
        const int Hidden = 3;
        var spec = new RouterSpec
        {
            Experts = 2, TopK = 3, Nulls = [new(NullKind.Constant, 1), new(NullKind.Identity, 1), new(NullKind.Constant, 1)], SharedNullLogit = false,
        };
        int[] ids = [0, -1, -3, -2, 1, -3, 0, 1, -2, -1, 0, 1];
        double[] x = Draw.Normals("x", 12), mix = Draw.Normals("mix", 16), constants = Draw.Normals("c", 6), weights = Draw.Normals("w", 12), dOut = Draw.Normals("do", 12);
        OpTensor[] Inputs(double[] a, double[] m, double[] c, double[] w) =>
        [
            OpTensor.In("x", a, Tokens, Hidden), OpTensor.In("mix", m, Tokens, 4), OpTensor.In("c", c, 2, Hidden), OpTensor.Ids("ids", ids, Tokens, 3),
            OpTensor.In("w", w, Tokens, 3),
        ];
        double J(double[] a, double[] m, double[] c, double[] w) => Differences.Dot(dOut, Differences.Run(
            (b, t) => b.ConstantExperts(t["x"], t["mix"], t["c"], t["ids"], t["w"], spec, t["o"]),
            [.. Inputs(a, m, c, w), OpTensor.InOut("o", new double[12], Tokens, Hidden)])["o"]);
        OpRun back = Differences.Run(
            (b, t) => b.ConstantExpertsBackward(t["x"], t["mix"], t["c"], t["ids"], t["w"], t["dO"], spec, t["dX"], t["dMix"], t["dC"], t["dW"]),
            [
                .. Inputs(x, mix, constants, weights), OpTensor.In("dO", dOut, Tokens, Hidden), OpTensor.InOut("dX", new double[12], Tokens, Hidden),
                OpTensor.Out("dMix", Tokens, 4), OpTensor.InOut("dC", new double[6], 2, Hidden), OpTensor.InOut("dW", new double[12], Tokens, 3),
            ]);
        Differences.Check("x", x, v => J(v, mix, constants, weights), back["dX"]);
        Differences.Check("mix", mix, v => J(x, v, constants, weights), back["dMix"]);
        Differences.Check("constants", constants, v => J(x, mix, v, weights), back["dC"]);
        Differences.Check("weights", weights, v => J(x, mix, constants, v), back["dW"]);
    }

    private static OpRun SameChoice(OpRun at, OpRun near)
    {
        Assert.Equal(at["ids"], near["ids"]);
        return near;
    }

    private static OpRun Gate(RouterSpec spec, double[] logits)
    {
        bool biased = spec.SelectionBias != SelectionBias.None, tops = spec.BalanceLoad == BalanceLoad.Top1;
        OpTensor[] bias = biased ? [OpTensor.In("b", Draw.Normals("bias", spec.Columns, 0.3), spec.Columns)] : [];
        return Differences.Run(
            (backend, t) => backend.Gate(
                t["l"], biased ? t["b"] : null, spec, new GateResult(t["ids"], t["weights"], t["counts"], t["chunkCounts"], t["sums"], t["balance"], t["z"], tops ? t["tops"] : null)),
            [
                OpTensor.In("l", logits, Tokens, spec.Columns), .. bias, OpTensor.OutIds("ids", Tokens, spec.TopK), OpTensor.Out("weights", Tokens, spec.TopK),
                OpTensor.OutIds("counts", spec.Columns), OpTensor.OutIds("chunkCounts", RoutingPlan.Chunks(Tokens), spec.Experts), OpTensor.Out("sums", spec.Columns), OpTensor.Out("balance", 1), OpTensor.Out("z", 1),
                .. tops ? [OpTensor.OutIds("tops", spec.Columns)] : (OpTensor[])[],
            ]);
    }

    private static double[] Backward(RouterSpec spec, double[] logits, OpRun at, double[] dWeights, double dBalance, double dZ) => Differences.Run(
        (b, t) => b.GateBackward(t["l"], t["ids"], t["dW"], t["counts"], t["dBalance"], t["dZ"], spec, t["dL"]),
        OpTensor.In("l", logits, Tokens, spec.Columns), OpTensor.Ids("ids", Array.ConvertAll(at["ids"], x => (int)x), Tokens, spec.TopK),
        OpTensor.In("dW", dWeights, Tokens, spec.TopK), OpTensor.Ids("counts", Array.ConvertAll(at[spec.BalanceLoad == BalanceLoad.Top1 ? "tops" : "counts"], x => (int)x), spec.Columns),
        OpTensor.In("dBalance", [dBalance], 1), OpTensor.In("dZ", [dZ], 1), OpTensor.Out("dL", Tokens, spec.Columns))["dL"];
}
