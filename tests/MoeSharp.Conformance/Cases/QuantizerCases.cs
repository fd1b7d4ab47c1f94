using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>Vector quantisation, forward and backward, with both distances; usage and revival of codes.</summary>
/// <remarks>
/// Codes are compared exactly, so a choice must not hang on roundings. Where it says "ties", data are multiples of 1/64 with every code there
/// twice: each sum of squares is exact in binary32, and the lower code must win. Elsewhere a row lies near a code, and the case checks on the
/// oracle that the second best is farther by more than both bounds.
/// </remarks>
public sealed class QuantizerCases : ICatalog
{
    private static readonly QuantizerSpec s_plain = new(), s_literal = new() { Mix = 0.3, Carry = QuantizerSpec.LiteralCarry(0.3), Commitment = 0.5 },
        s_cosine = new() { Distance = CodeDistance.Cosine, Mix = 0.4 }, s_shift = new() { Mix = 1, Carry = 0 };

    public static IReadOnlyList<OpCase> All { get; } =
    [
        .. Both("T0", 0, 3, 4, s_plain), .. Both("T1 one code", 1, 1, 1, s_plain), .. Both("T5 one code", 5, 1, 7, s_cosine), .. Both("T20", 20, 5, 33, s_plain),
        .. Both("T66 literal", 66, 16, 16, s_literal), .. Both("T70 cosine", 70, 16, 24, s_cosine), .. Both("T9 shift", 9, 40, 65, s_shift),
        .. Both("T30 cosine", 30, 34, 35, s_cosine with { Carry = 0.6 }), .. Both("T300", 300, 260, 3, s_plain),
        Ties("T20 N34", 20, 34, 40, s_plain), Ties("T7 N66", 7, 66, 5, s_plain), Zeros(),
        Assign("T0", 0, 3, 3), Assign("T1", 1, 1, 1), Assign("T700", 700, 40, 16), Usage("T0", 0, 3), Usage("T1", 1, 1), Usage("T700", 700, 40), Usage("T33", 33, 5), Revive("N1", 1, 1, 0), Revive("N9", 9, 33, 1e-3), Revive("N40", 40, 64, 0),
    ];

    public static IReadOnlyList<OpCase> Large { get; } = [.. Both("T250", 250, 33, 40, s_cosine), Assign("T3000", 3000, 50, 16), Usage("T3000", 3000, 50), Revive("N60", 60, 130, 1e-3)];

    private static IEnumerable<OpCase> Both(string name, int t, int n, int d, QuantizerSpec spec)
    {
        double[] codebook = Draw.Normals(name + "codebook", (long)n * d);
        int[] owner = Draw.Integers(name + "owner", t, n);
        double[] noise = Draw.Normals(name + "noise", (long)t * d, 0.1);
        double[] x = [.. Enumerable.Range(0, t * d).Select(i => (double)(float)((1.5 * codebook[(owner[i / d] * d) + (i % d)]) + noise[i]))];
        if (spec.Distance == CodeDistance.Euclidean)
        {
            x = Array.ConvertAll(x, value => (double)(float)(value / 1.5));
        }

        yield return Quantize(name, x, codebook, t, n, d, spec, separated: true);
        yield return QuantizeBackward(name, x, codebook, owner, t, n, d, spec);
    }

    private static OpCase Ties(string name, int t, int n, int d, QuantizerSpec spec)
    {
        double[] half = Draw.Grid(name, (long)n / 2 * d, 0.5);
        return Quantize($"{name} ties", Draw.Grid(name + "x", (long)t * d, 0.5), [.. half, .. half], t, n, d, spec, separated: false);
    }

    /// <summary>A row and a code without a direction.</summary>
    private static OpCase Zeros()
    {
        double[] x = Draw.Normals("zeros", 5 * 6), codebook = Draw.Normals("zero codes", 4 * 6);
        Array.Clear(x, 12, 6);
        Array.Clear(codebook, 0, 6);
        return QuantizeBackward("zeros", x, codebook, [0, 1, 0, 2, 3], 5, 4, 6, s_cosine);
    }

    private static OpCase Quantize(string name, double[] x, double[] codebook, int t, int n, int d, QuantizerSpec spec, bool separated) => new(
        $"Quantize {name}",
        [
            OpTensor.In("x", x, t, d), OpTensor.In("codebook", codebook, n, d), OpTensor.OutIds("codes", t), OpTensor.Out("distances", t), OpTensor.Out("loss", 1),
            OpTensor.Out("y", t, d),
        ],
        (backend, s) => backend.Quantize(s["x"], s["codebook"], spec, s["codes"], s["distances"], s["loss"], s["y"]),
        run =>
        {
            double[] distances = Tolerance.Each(t, row => DistanceError(run["distances"][row], d, spec));
            for (int row = 0; separated && row < t; row++)
            {
                double second = Enumerable.Range(0, n).Where(j => j != (int)run["codes"][row]).Select(j => Distance(run, row, j, d, spec)).DefaultIfEmpty(double.MaxValue).Min();
                Assert.True(second - DistanceError(second, d, spec) > run["distances"][row] + distances[row], $"{name}: the choice of row {row} hangs on roundings; draw other data.");
            }

            return new()
            {
                ["distances"] = distances,
                ["loss"] = [((1 + spec.Commitment) * ((distances.Sum() / Math.Max(1, t * d)) + (Tolerance.Gamma(t + 4) * run["distances"].Sum() / Math.Max(1, t * d)))) + Tolerance.Tiny],
                ["y"] = Tolerance.Each(t * d, i =>
                {
                    double own = Math.Abs(run["x"][i]), code = Math.Abs(run["codebook"][((int)run["codes"][i / d] * d) + (i % d)]) * Stretch(run, i / d, (int)run["codes"][i / d], d, spec);
                    return Tolerance.Gamma(d + 12) * ((spec.Carry * own) + (spec.Mix * (own + code)));
                }),
            };
        });

    private static OpCase QuantizeBackward(string name, double[] x, double[] codebook, int[] codes, int t, int n, int d, QuantizerSpec spec) => new(
        $"QuantizeBackward {name}",
        [
            OpTensor.In("x", x, t, d), OpTensor.In("codebook", codebook, n, d), OpTensor.Ids("codes", codes, t), OpTensor.In("dLoss", [50], 1),
            OpTensor.In("dY", Draw.Normals(name + "dY", (long)t * d), t, d), OpTensor.Out("dX", t, d), OpTensor.InOut("dCodebook", Draw.Normals(name + "dV", (long)n * d), n, d),
        ],
        (backend, s) => backend.QuantizeBackward(s["x"], s["codebook"], s["codes"], s["dLoss"], s["dY"], spec, s["dX"], s["dCodebook"]),
        run =>
        {
            // Each gradient is slope (p a - q b); cosines and lengths of d terms are in p and q, whose sizes are those of cos = 1.
            double slope = 100.0 / Math.Max(1, t * d), roundings = (2 * d) + 24;
            double[] dX = new double[t * d], dV = Array.ConvertAll(run.Before("dCodebook"), Math.Abs);
            for (int i = 0; i < t * d; i++)
            {
                int row = i / d, at = (codes[row] * d) + (i % d);
                double rowInverse = Inverse(run["x"], row, d, spec), inverse = Inverse(run["codebook"], codes[row], d, spec);
                double own = Math.Abs(run["x"][i]) * rowInverse, code = Math.Abs(run["codebook"][at]) * inverse;
                dX[i] = Tolerance.Gamma(roundings) * ((spec.Carry * Math.Abs(run["dY"][i])) + (slope * spec.Commitment * rowInverse * (own + code)));
                dV[at] += slope * inverse * (own + code);
            }

            return new() { ["dX"] = Array.ConvertAll(dX, bound => bound + (4 * Tolerance.Tiny)), ["dCodebook"] = Tolerance.Sum(dV, t + roundings) };
        });

    private static OpCase Assign(string name, int t, int n, int e) => new(
        $"AssignCodes {name}",
        [
            OpTensor.Ids("codes", Draw.Integers(name + "codes", t, n), t), OpTensor.Ids("map", [.. Enumerable.Range(0, n).Select(j => j % e)], n) with { FreeWidth = true },
            OpTensor.OutIds("ids", t, 1), OpTensor.OutIds("counts", e), OpTensor.OutIds("chunkCounts", RoutingPlan.Chunks(t), e),
        ],
        (backend, s) => backend.AssignCodes(s["codes"], s["map"], s["ids"], s["counts"], s["chunkCounts"]),
        Tolerance.Exact);

    private static OpCase Usage(string name, int t, int n) => new(
        $"CodeUsage {name}",
        [OpTensor.Ids("codes", Draw.Integers(name, t, n + 1), t) with { FreeWidth = true }, OpTensor.InOut("usage", Array.ConvertAll(Draw.Normals(name + "usage", n), Math.Abs), n) with { FreeWidth = true }],
        (backend, s) => backend.CodeUsage(s["codes"], 0.9, s["usage"]),
        run => new() { ["usage"] = Tolerance.Sum(run["usage"], 6) });

    private static OpCase Revive(string name, int n, int d, double reserve)
    {
        // From dead to fully alive; a share of 1 is in the first case, one of exactly 0 in the others.
        double[] usage = [.. Enumerable.Range(0, n).Select(j => (double)(float)((j == 0 ? 0 : Math.Pow(2, j % 9) / 256) / n))];
        return new OpCase(
            $"ReviveCodes {name}",
            [
                OpTensor.In("anchors", Draw.Normals(name + "anchors", (long)n * d), n, d), OpTensor.In("usage", usage, n),
                OpTensor.InOut("master", Draw.Normals(name + "codes", (long)n * d), n, d), OpTensor.Out("codebook", n, d),
            ],
            (backend, s) => backend.ReviveCodes(s["anchors"], s["usage"], 0.9, reserve, s["master"], s["codebook"]),
            run =>
            {
                double[] bounds = Tolerance.Each(n * d, i =>
                {
                    double exponent = (100.0 * n * usage[i / d]) + reserve, share = Math.Exp(-exponent);
                    double error = share * Tolerance.Gamma((4 * exponent) + Tolerance.Function + 2);
                    return ((error + Tolerance.Gamma(4)) * Math.Abs(run["anchors"][i]) * Math.Min(1, share + error)) + ((error + ((1 - share) * Tolerance.Gamma(4))) * Math.Abs(run.Before("master")[i]))
                        + (error * Math.Abs(run["anchors"][i]));
                });
                return new() { ["master"] = bounds, ["codebook"] = bounds };
            });
    }

    /// <summary>
    /// Error of a sum of d squared differences. Differences have relative error u; between unit vectors, whose elements have relative errors of
    /// d / 2 + 6 roundings, the error of the distance is at most 2 e |u - w| (|u| + |w|) + e^2 (|u| + |w|)^2.
    /// </summary>
    private static double DistanceError(double distance, int d, QuantizerSpec spec)
    {
        double e = spec.Distance == CodeDistance.Cosine ? Tolerance.Gamma((d / 2.0) + 6) : 0;
        return (Tolerance.Gamma(d + 4) * distance) + (4 * e * Math.Sqrt(distance)) + (4 * e * e);
    }

    private static double Distance(OpRun run, int row, int code, int d, QuantizerSpec spec)
    {
        double rowInverse = Inverse(run["x"], row, d, spec), inverse = Inverse(run["codebook"], code, d, spec);
        return Enumerable.Range(0, d).Sum(i => Math.Pow((run["x"][(row * d) + i] * rowInverse) - (run["codebook"][(code * d) + i] * inverse), 2));
    }

    private static double Stretch(OpRun run, int row, int code, int d, QuantizerSpec spec)
    {
        double rowInverse = Inverse(run["x"], row, d, spec);
        return rowInverse == 0 ? 0 : Inverse(run["codebook"], code, d, spec) / rowInverse;
    }

    private static double Inverse(double[] vectors, int vector, int d, QuantizerSpec spec)
    {
        if (spec.Distance == CodeDistance.Euclidean)
        {
            return 1;
        }

        double length = Math.Sqrt(vectors.AsSpan(vector * d, d).ToArray().Sum(value => value * value));
        return length == 0 ? 0 : 1 / length;
    }
}
