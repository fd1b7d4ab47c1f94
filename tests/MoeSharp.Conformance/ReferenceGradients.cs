using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>Every backward op of the oracle, except those of the MoE layer, against difference quotients of its forward op.</summary>
public sealed class ReferenceGradients
{
    [Fact]
    public void Gemm_TransposedForms_AreItsGradients()
    {
        double[] x = Draw.Normals("x", 12), w = Draw.Normals("w", 20), dY = Draw.Normals("dy", 15);
        double J(double[] a, double[] b) => Differences.Dot(dY, Differences.Run(
            (backend, t) => backend.Gemm(t["x"], t["w"], false, true, false, t["y"]),
            OpTensor.In("x", a, 3, 4), OpTensor.In("w", b, 5, 4), OpTensor.Out("y", 3, 5))["y"]);
        OpRun dX = Differences.Run(
            (backend, t) => backend.Gemm(t["dY"], t["w"], false, false, false, t["dX"]),
            OpTensor.In("dY", dY, 3, 5), OpTensor.In("w", w, 5, 4), OpTensor.Out("dX", 3, 4));
        OpRun dW = Differences.Run(
            (backend, t) => backend.Gemm(t["dY"], t["x"], true, false, false, t["dW"]),
            OpTensor.In("dY", dY, 3, 5), OpTensor.In("x", x, 3, 4), OpTensor.Out("dW", 5, 4));
        Differences.Check("x", x, v => J(v, w), dX["dX"]);
        Differences.Check("w", w, v => J(x, v), dW["dW"]);
    }

    [Fact]
    public void Embedding()
    {
        int[] ids = [2, 0, 2, 1];
        double[] table = Draw.Normals("table", 12), dY = Draw.Normals("dy", 12);
        OpRun back = Differences.Run(
            (b, t) => b.EmbeddingBackward(t["dY"], t["ids"], t["dTable"]),
            OpTensor.In("dY", dY, 4, 3), OpTensor.Ids("ids", ids, 4), OpTensor.InOut("dTable", new double[12], 4, 3));
        Differences.Check(
            "table", table,
            v => Differences.Dot(dY, Differences.Run(
                (b, t) => b.Embedding(t["table"], t["ids"], t["y"]),
                OpTensor.In("table", v, 4, 3), OpTensor.Ids("ids", ids, 4), OpTensor.Out("y", 4, 3))["y"]),
            back["dTable"]);
    }

    [Fact]
    public void RmsNorm()
    {
        double[] x = Draw.Normals("x", 15), w = Draw.Normals("w", 5), dY = Draw.Normals("dy", 15);
        OpRun Forward(double[] a, double[] b) => Differences.Run(
            (backend, t) => backend.RmsNorm(t["x"], t["w"], 1e-3, t["y"], t["r"]),
            OpTensor.In("x", a, 3, 5), OpTensor.In("w", b, 5), OpTensor.Out("y", 3, 5), OpTensor.Out("r", 3));
        OpRun back = Differences.Run(
            (b, t) => b.RmsNormBackward(t["x"], t["w"], t["r"], t["dY"], t["dX"], t["dW"]),
            OpTensor.In("x", x, 3, 5), OpTensor.In("w", w, 5), OpTensor.In("r", Forward(x, w)["r"], 3), OpTensor.In("dY", dY, 3, 5),
            OpTensor.Out("dX", 3, 5), OpTensor.InOut("dW", new double[5], 5));
        Differences.Check("x", x, v => Differences.Dot(dY, Forward(v, w)["y"]), back["dX"]);
        Differences.Check("w", w, v => Differences.Dot(dY, Forward(x, v)["y"]), back["dW"]);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Rope_InverseIsTheGradient(bool interleaved)
    {
        var rope = new RopeSpec(6, 100, interleaved);
        double[] x = Draw.Normals("x", 24), dY = Draw.Normals("dy", 24);
        OpRun Run(double[] a, bool inverse) => Differences.Run(
            (b, t) => b.Rope(t["x"], t["p"], rope, inverse, t["y"]),
            OpTensor.In("x", a, 2, 12), OpTensor.Ids("p", [1, 7], 2), OpTensor.Out("y", 2, 12));
        Differences.Check("x", x, v => Differences.Dot(dY, Run(v, false)["y"]), Run(dY, true)["y"]);
        Assert.NotEqual(x[0], Run(x, false)["y"][0], 1e-3);
    }

    [Fact]
    public void AddBias()
    {
        double[] bias = Draw.Normals("b", 4), dY = Draw.Normals("dy", 12);
        OpRun back = Differences.Run(
            (b, t) => b.AddBiasBackward(t["dY"], t["dB"]), OpTensor.In("dY", dY, 3, 4), OpTensor.InOut("dB", new double[4], 4));
        Differences.Check(
            "bias", bias,
            v => Differences.Dot(dY, Differences.Run(
                (b, t) => b.AddBias(t["x"], t["b"], t["y"]),
                OpTensor.In("x", Draw.Normals("x", 12), 3, 4), OpTensor.In("b", v, 4), OpTensor.Out("y", 3, 4))["y"]),
            back["dB"]);
    }

    [Fact]
    public void SwiGlu()
    {
        double[] z = Draw.Normals("z", 18, 2), dA = Draw.Normals("da", 9);
        OpRun back = Differences.Run(
            (b, t) => b.SwiGluBackward(t["z"], t["dA"], t["dZ"]),
            OpTensor.In("z", z, 3, 6), OpTensor.In("dA", dA, 3, 3), OpTensor.Out("dZ", 3, 6));
        Differences.Check(
            "z", z,
            v => Differences.Dot(dA, Differences.Run((b, t) => b.SwiGlu(t["z"], t["a"]), OpTensor.In("z", v, 3, 6), OpTensor.Out("a", 3, 3))["a"]),
            back["dZ"]);
    }

    [Fact]
    public void SigmoidGate()
    {
        double[] x = Draw.Normals("x", 12), gate = Draw.Normals("g", 3), dY = Draw.Normals("dy", 12);
        double J(double[] a, double[] g) => Differences.Dot(dY, Differences.Run(
            (b, t) => b.SigmoidGate(t["x"], t["g"], t["y"]), OpTensor.In("x", a, 3, 4), OpTensor.In("g", g, 3, 1), OpTensor.Out("y", 3, 4))["y"]);
        OpRun back = Differences.Run(
            (b, t) => b.SigmoidGateBackward(t["x"], t["g"], t["dY"], t["dX"], t["dG"]),
            OpTensor.In("x", x, 3, 4), OpTensor.In("g", gate, 3, 1), OpTensor.In("dY", dY, 3, 4), OpTensor.Out("dX", 3, 4), OpTensor.Out("dG", 3, 1));
        Differences.Check("x", x, v => J(v, gate), back["dX"]);
        Differences.Check("gate", gate, v => J(x, v), back["dG"]);
    }

    [Theory]
    [InlineData(CodeDistance.Euclidean)]
    [InlineData(CodeDistance.Cosine)]
    public void Quantize_BothPartsOfTheLoss(CodeDistance distance)
    {
        // The value is (1 + c) D; to rows belong c parts of dD, to codes 1. The output has no difference quotient: its gradient is carry dY by definition.
        var spec = new QuantizerSpec { Distance = distance, Mix = 0.3, Carry = 0.8, Commitment = 0.5 };
        double[] x = Draw.Normals("x", 20), codes = Draw.Normals("codes", 12), dY = Draw.Normals("dy", 20);
        OpRun Forward(double[] a, double[] b) => Differences.Run(
            (backend, t) => backend.Quantize(t["x"], t["v"], spec, t["c"], t["distance"], t["loss"], t["y"]),
            OpTensor.In("x", a, 5, 4), OpTensor.In("v", b, 3, 4), OpTensor.OutIds("c", 5), OpTensor.Out("distance", 5), OpTensor.Out("loss", 1), OpTensor.Out("y", 5, 4));
        int[] chosen = Array.ConvertAll(Forward(x, codes)["c"], code => (int)code);
        double[] dX = Back(new double[20])["dX"];
        Differences.Check("x", x, v => 1.4 / 1.5 * 0.5 * Forward(v, codes)["loss"][0], dX);
        Differences.Check("codebook", codes, v => 1.4 / 1.5 * Forward(x, v)["loss"][0], Back(dY)["dV"]);
        Assert.All(Back(dY)["dX"].Zip(dX.Zip(dY, (a, b) => a + (0.8 * b))), pair => Assert.Equal(pair.Second, pair.First, 1e-14));

        OpRun Back(double[] d) => Differences.Run(
            (backend, t) => backend.QuantizeBackward(t["x"], t["v"], t["c"], t["dLoss"], t["dY"], spec, t["dX"], t["dV"]),
            OpTensor.In("x", x, 5, 4), OpTensor.In("v", codes, 3, 4), OpTensor.Ids("c", chosen, 5), OpTensor.In("dLoss", [1.4], 1), OpTensor.In("dY", d, 5, 4),
            OpTensor.Out("dX", 5, 4), OpTensor.InOut("dV", new double[12], 3, 4));
    }

    [Fact]
    public void CrossEntropy_WithAnIgnoredTarget()
    {
        int[] targets = [1, -100, 4];
        double[] logits = Draw.Normals("l", 15);
        OpRun Forward(double[] v) => Differences.Run(
            (b, t) => b.CrossEntropy(t["l"], t["t"], t["loss"], t["lse"], t["mean"]),
            OpTensor.In("l", v, 3, 5), OpTensor.Ids("t", targets, 3), OpTensor.Out("loss", 3), OpTensor.Out("lse", 3), OpTensor.Out("mean", 1));
        OpRun back = Differences.Run(
            (b, t) => b.CrossEntropyBackward(t["l"], t["t"], t["lse"], t["dMean"], t["dL"]),
            OpTensor.In("l", logits, 3, 5), OpTensor.Ids("t", targets, 3), OpTensor.In("lse", Forward(logits)["lse"], 3),
            OpTensor.In("dMean", [1.5], 1), OpTensor.Out("dL", 3, 5));
        Differences.Check("logits", logits, v => 1.5 * Forward(v)["mean"][0], back["dL"]);
    }

    [Theory]
    [InlineData(3, 3, true)]
    [InlineData(3, 3, false)]
    [InlineData(2, 5, true)]
    public void Attention(int queries, int keys, bool causal)
    {
        var spec = new AttentionSpec(2, queries, keys, 4, 2, 3, 0.6, causal);
        double[] q = Draw.Normals("q", 24 * queries), k = Draw.Normals("k", 12 * keys), v = Draw.Normals("v", 12 * keys), dO = Draw.Normals("do", 24 * queries);
        OpTensor[] Inputs(double[] a, double[] b, double[] c) =>
            [OpTensor.In("q", a, 2 * queries, 12), OpTensor.In("k", b, 2 * keys, 6), OpTensor.In("v", c, 2 * keys, 6)];
        OpRun Forward(double[] a, double[] b, double[] c) => Differences.Run(
            (backend, t) => backend.Attention(t["q"], t["k"], t["v"], spec, t["o"], t["lse"]),
            [.. Inputs(a, b, c), OpTensor.Out("o", 2 * queries, 12), OpTensor.Out("lse", 2 * queries, 4)]);
        OpRun at = Forward(q, k, v);
        OpRun back = Differences.Run(
            (b, t) => b.AttentionBackward(t["q"], t["k"], t["v"], t["o"], t["lse"], t["dO"], spec, t["dQ"], t["dK"], t["dV"]),
            [
                .. Inputs(q, k, v), OpTensor.In("o", at["o"], 2 * queries, 12), OpTensor.In("lse", at["lse"], 2 * queries, 4),
                OpTensor.In("dO", dO, 2 * queries, 12), OpTensor.Out("dQ", 2 * queries, 12), OpTensor.Out("dK", 2 * keys, 6), OpTensor.Out("dV", 2 * keys, 6),
            ]);
        Differences.Check("q", q, a => Differences.Dot(dO, Forward(a, k, v)["o"]), back["dQ"]);
        Differences.Check("k", k, a => Differences.Dot(dO, Forward(q, a, v)["o"]), back["dK"]);
        Differences.Check("v", v, a => Differences.Dot(dO, Forward(q, k, a)["o"]), back["dV"]);
    }

    [Fact]
    public void AdamW_FirstStep_IsTheSignOfTheGradient_AndDecaysByTheRate()
    {
        // With fresh moments the corrected update is g / (|g| + eps).
        var step = new AdamWStep(0.5, 0.9, 0.95, 0, 0.1, 1);
        OpRun run = Differences.Run(
            (b, t) => b.AdamW(t["g"], t["f"], step, t["p"], t["m"], t["v"], t["p"]),
            OpTensor.In("g", [4, -0.25], 2), OpTensor.In("f", [0.5], 1), OpTensor.InOut("p", [1, 1], 2), OpTensor.InOut("m", [0, 0], 2), OpTensor.InOut("v", [0, 0], 2));
        Assert.Equal([0.45, 1.45], run["p"].Select(x => Math.Round(x, 12)));
        Assert.Equal([0.2, -0.0125], run["m"].Select(x => Math.Round(x, 12)));
        Assert.Equal([0.2, 0.00078125], run["v"].Select(x => Math.Round(x, 12)));
    }

    [Theory]
    [InlineData(3, 4, 2.5, 0.5)]
    [InlineData(3, 4, 10, 1)]
    [InlineData(3, 4, 0, 1)]
    public void GradNorm_AndClipFactor(double a, double b, double maxNorm, double expected)
    {
        OpRun run = Differences.Run(
            (backend, t) =>
            {
                backend.GradNorm([t["a"], t["b"]], t["norm"]);
                backend.ClipFactor(t["norm"], maxNorm, t["factor"]);
            },
            OpTensor.In("a", [a], 1), OpTensor.In("b", [b], 1), OpTensor.Out("norm", 1), OpTensor.Out("factor", 1));
        Assert.Equal(5, run["norm"][0], 1e-12);
        Assert.Equal(expected, run["factor"][0], 1e-6);
    }
}
