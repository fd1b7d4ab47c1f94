using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>Noisy top-k: the noise, and the losses with their gradients.</summary>
public sealed class NoisyCases : ICatalog
{
    private static readonly (int T, int E, int K)[] s_shapes =
        [(0, 4, 2), (1, 1, 1), (1, 5, 2), (7, 8, 8), (33, 31, 3), (64, 33, 1), (257, 8, 2), (300, 70, 4)];

    public static IReadOnlyList<OpCase> All { get; } = [.. s_shapes.SelectMany(shape => Ops(shape.T, shape.E, shape.K))];

    public static IReadOnlyList<OpCase> Large { get; } = [.. Ops(3000, 64, 8)];

    private static IEnumerable<OpCase> Ops(int t, int e, int k)
    {
        string name = $"T{t} E{e} K{k}";
        double[] logits = Draw.Normals(name + "l", (long)t * e), spread = Draw.Normals(name + "s", (long)t * e), noise = Draw.Normals(name + "n", (long)t * e);
        double[] noisy = [.. logits.Select((logit, i) => (double)(float)(logit + (noise[i] * Deviation(spread[i]))))];
        OpTensor[] inputs = [OpTensor.In("logits", logits, t, e), OpTensor.In("spread", spread, t, e)];
        yield return new OpCase(
            $"NoisyLogits {name}",
            [.. inputs, OpTensor.Out("noise", t, e), OpTensor.Out("noisy", t, e)],
            (b, s) => b.NoisyLogits(s["logits"], s["spread"], new NoiseRange(7, 11, (5UL << 32) + 3), s["noise"], s["noisy"]),
            run => new()
            {
                // The cosine is off by some 1e-16 wherever it is small.
                ["noise"] = Tolerance.Each(t * e, i => (Tolerance.Gamma(2) * Math.Abs(run["noise"][i])) + 1e-14),
                ["noisy"] = Tolerance.Each(t * e, i =>
                    (Tolerance.Gamma((2 * Tolerance.Function) + 6) * Math.Abs(run["noise"][i]) * Deviation(run["spread"][i]))
                    + (Tolerance.Gamma(1) * Math.Abs(run["noisy"][i])) + (1e-14 * Deviation(run["spread"][i]))),
            });
        OpTensor noises = OpTensor.In("noise", noise, t, e);
        yield return new OpCase(
            $"NoisyLogitsBackward {name}",
            [OpTensor.In("spread", spread, t, e), noises, OpTensor.In("dNoisy", Draw.Normals(name + "d", (long)t * e), t, e), OpTensor.Out("dSpread", t, e)],
            (b, s) => b.NoisyLogitsBackward(s["spread"], s["noise"], s["dNoisy"], s["dSpread"]),
            run => new() { ["dSpread"] = Tolerance.Each(t * e, i => Tolerance.Gamma(Tolerance.Function + 4) * Math.Abs(run["dSpread"][i])) });
        int[] ids = [.. Enumerable.Range(0, t).SelectMany(token => Enumerable.Range(0, e).OrderByDescending(i => noisy[(token * e) + i]).Take(k))];
        var spec = new RouterSpec { Experts = e, TopK = k };
        OpTensor[] routed = [.. inputs, OpTensor.In("noisy", noisy, t, e), OpTensor.Ids("ids", ids, t, k)];
        double[] weights = Array.ConvertAll(Draw.Normals(name + "w", (long)t * k, 0.3), x => Math.Abs(x) + 0.125);
        OpCase forward = new(
            $"NoisyBalance {name}",
            [
                .. routed, OpTensor.In("weights", weights, t, k), OpTensor.OutIds("runnerUp", t), OpTensor.Out("statistics", 4, e), OpTensor.Out("loss", 1),
            ],
            (b, s) => b.NoisyBalance(s["logits"], s["spread"], s["noisy"], s["ids"], s["weights"], spec, s["runnerUp"], s["statistics"], s["loss"]),
            run => ForwardBounds(run, t, e));
        yield return forward;
        OpRun at = forward.RunOnReference();
        yield return new OpCase(
            $"NoisyBalanceBackward {name}",
            [
                .. routed, OpTensor.Ids("runnerUp", Array.ConvertAll(at["runnerUp"], x => (int)x), t),
                OpTensor.In("statistics", Array.ConvertAll(at["statistics"], x => (double)(float)x), 4, e), OpTensor.In("dLoss", [0.75], 1),
                OpTensor.Out("dLogits", t, e), OpTensor.Out("dSpread", t, e), OpTensor.Out("dNoisy", t, e), OpTensor.Out("dWeights", t, k),
            ],
            (b, s) => b.NoisyBalanceBackward(
                s["logits"], s["spread"], s["noisy"], s["ids"], s["runnerUp"], s["statistics"], s["dLoss"], spec, s["dLogits"], s["dSpread"], s["dNoisy"], s["dWeights"]),
            run => BackwardBounds(run, t, e, k));
    }

    private static double Deviation(double spread) => Math.Max(spread, 0) + Math.Log(1 + Math.Exp(-Math.Abs(spread))) + Backend.NoiseFloor;

    /// <summary>
    /// Importance is a sum of T weights. A load is a sum of T values of Phi, each off by its own error, at most 2 functions, and by
    /// |z| phi(z) &lt;= 0.25 times the relative error of z, a quotient with a softplus. What follows from the sums is differentiated.
    /// </summary>
    private static Dictionary<string, double[]> ForwardBounds(OpRun run, int t, int e)
    {
        double[] statistics = run["statistics"], bounds = new double[4 * e];
        double loss = 0;
        for (int half = 0; half < 2; half++)
        {
            double[] x = statistics[(half * e)..((half + 1) * e)];
            double off = half == 0
                ? x.DefaultIfEmpty(0).Max(value => Tolerance.Gamma(t + 2) * value)
                : x.DefaultIfEmpty(0).Max(value => Tolerance.Gamma(t + (2 * Tolerance.Function)) * value) + (t * 0.25 * Tolerance.Gamma((2 * Tolerance.Function) + 6));
            double mean = x.Average(), largest = x.Max(value => Math.Abs(value - mean)), variance = x.Average(value => (value - mean) * (value - mean));
            double variances = (4 * largest * off) + (4 * off * off);
            for (int i = 0; i < e; i++)
            {
                bounds[(half * e) + i] = off + (4 * Tolerance.Tiny);
                double slope = statistics[((2 + half) * e) + i];
                double numerator = (2 * off) + (variances / mean) + (2 * variance * off / (mean * mean));
                bounds[((2 + half) * e) + i] = mean == 0 ? 0 : (2 * numerator / (e * mean * mean)) + (Math.Abs(slope) * ((4 * off / mean) + Tolerance.Gamma(2))) + (4 * Tolerance.Tiny);
            }

            loss += mean == 0 ? 0 : ((variances / (mean * mean)) + (4 * variance * off / (mean * mean * mean))) + (Tolerance.Gamma(2) * variance / (mean * mean));
        }

        return new() { ["statistics"] = bounds, ["loss"] = [loss + (4 * Tolerance.Tiny)] };
    }

    /// <summary>phi(z) = exp(-z^2 / 2) is off by z^2 times the relative error of z, and by a function.</summary>
    private static Dictionary<string, double[]> BackwardBounds(OpRun run, int t, int e, int k)
    {
        var (logits, spreads, sums) = (new double[t * e], new double[t * e], new double[t * e]);
        for (int token = 0; token < t; token++)
        {
            int[] chosen = [.. run["ids"][(token * k)..((token + 1) * k)].Select(x => (int)x)];
            for (int i = 0; i < e; i++)
            {
                int at = (token * e) + i, bar = chosen.Contains(i) ? (int)run["runnerUp"][token] : chosen[^1];
                double z = bar < 0 ? 0 : (run["logits"][at] - run["noisy"][(token * e) + bar]) / Deviation(run["spread"][at]);
                double relative = Tolerance.Gamma(((1 + (z * z)) * ((2 * Tolerance.Function) + 8)) + (2 * Tolerance.Function) + 8);
                logits[at] = (relative * Math.Abs(run["dLogits"][at])) + (4 * Tolerance.Tiny);
                spreads[at] = (2 * relative * Math.Abs(run["dSpread"][at])) + (4 * Tolerance.Tiny);
                if (bar >= 0)
                {
                    sums[(token * e) + bar] += ((relative + Tolerance.Gamma(e)) * Math.Abs(run["dLogits"][at])) + (4 * Tolerance.Tiny);
                }
            }
        }

        return new() { ["dLogits"] = logits, ["dSpread"] = spreads, ["dNoisy"] = sums, ["dWeights"] = Tolerance.Each(t * k, i => Tolerance.Gamma(1) * Math.Abs(run["dWeights"][i])) };
    }
}
