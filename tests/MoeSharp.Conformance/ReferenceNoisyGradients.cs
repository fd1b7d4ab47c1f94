using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>The backward ops of the oracle's noisy top-k against difference quotients.</summary>
public sealed class ReferenceNoisyGradients
{
    private const int Tokens = 4;
    private const int Experts = 6;

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(Experts)]
    public void NoisyBalance_OfEveryInput(int topK)
    {
        var spec = new RouterSpec { Experts = Experts, TopK = topK };
        double[] logits = Draw.Normals("l", Tokens * Experts), spread = Draw.Normals("s", Tokens * Experts), noisy = Draw.Normals("h", Tokens * Experts);
        double[] weights = Draw.Normals("w", Tokens * topK).Select(x => Math.Abs(x) + 0.1).ToArray();
        int[] ids = [.. Enumerable.Range(0, Tokens).SelectMany(t => Enumerable.Range(0, Experts).OrderByDescending(e => noisy[(t * Experts) + e]).Take(topK))];
        OpTensor[] Inputs(double[] l, double[] s, double[] h) =>
        [
            OpTensor.In("l", l, Tokens, Experts), OpTensor.In("s", s, Tokens, Experts), OpTensor.In("h", h, Tokens, Experts), OpTensor.Ids("ids", ids, Tokens, topK),
        ];
        OpRun Forward(double[] l, double[] s, double[] h, double[] w) => Differences.Run(
            (b, t) => b.NoisyBalance(t["l"], t["s"], t["h"], t["ids"], t["w"], spec, t["next"], t["stats"], t["loss"]),
            [.. Inputs(l, s, h), OpTensor.In("w", w, Tokens, topK), OpTensor.OutIds("next", Tokens), OpTensor.Out("stats", 4, Experts), OpTensor.Out("loss", 1)]);
        double J(double[] l, double[] s, double[] h, double[] w) => 1.5 * Forward(l, s, h, w)["loss"][0];

        OpRun at = Forward(logits, spread, noisy, weights);
        OpRun back = Differences.Run(
            (b, t) => b.NoisyBalanceBackward(t["l"], t["s"], t["h"], t["ids"], t["next"], t["stats"], t["d"], spec, t["dL"], t["dS"], t["dH"], t["dW"]),
            [
                .. Inputs(logits, spread, noisy), OpTensor.Ids("next", Array.ConvertAll(at["next"], x => (int)x), Tokens), OpTensor.In("stats", at["stats"], 4, Experts),
                OpTensor.In("d", [1.5], 1), OpTensor.Out("dL", Tokens, Experts), OpTensor.Out("dS", Tokens, Experts), OpTensor.Out("dH", Tokens, Experts),
                OpTensor.Out("dW", Tokens, topK),
            ]);
        Differences.Check("logits", logits, v => J(v, spread, noisy, weights), back["dL"]);
        Differences.Check("spread", spread, v => J(logits, v, noisy, weights), back["dS"]);
        Differences.Check("noisy", noisy, v => J(logits, spread, v, weights), back["dH"]);
        Differences.Check("weights", weights, v => J(logits, spread, noisy, v), back["dW"]);
    }

    [Fact]
    public void NoisyLogits_Spread()
    {
        double[] logits = Draw.Normals("l", Tokens * Experts), spread = Draw.Normals("s", Tokens * Experts), d = Draw.Normals("d", Tokens * Experts);
        OpRun Forward(double[] s) => Differences.Run(
            (b, t) => b.NoisyLogits(t["l"], t["s"], new NoiseRange(1, 2, 3), t["n"], t["h"]),
            OpTensor.In("l", logits, Tokens, Experts), OpTensor.In("s", s, Tokens, Experts), OpTensor.Out("n", Tokens, Experts), OpTensor.Out("h", Tokens, Experts));
        OpRun back = Differences.Run(
            (b, t) => b.NoisyLogitsBackward(t["s"], t["n"], t["d"], t["dS"]),
            OpTensor.In("s", spread, Tokens, Experts), OpTensor.In("n", Forward(spread)["n"], Tokens, Experts), OpTensor.In("d", d, Tokens, Experts),
            OpTensor.Out("dS", Tokens, Experts));
        Differences.Check("spread", spread, v => Differences.Dot(d, Forward(v)["h"]), back["dS"]);
    }
}
