using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>Embedding, norm, rotary embedding, cross-entropy.</summary>
public sealed class DenseCases : ICatalog
{
    public static IReadOnlyList<OpCase> All { get; } =
    [
        .. Sizes((5, 3, 0), (7, 1, 9), (50, 33, 100), (3, 64, 40), (1, 8, 70), (700, 8, 2500)).SelectMany(s => (OpCase[])[Embedding(s.A, s.B, s.C), EmbeddingBackward(s.A, s.B, s.C)]),
        .. Pairs((0, 4), (1, 1), (3, 7), (17, 64), (5, 129), (600, 33), (40, 256), (3, 1100)).SelectMany(s => (OpCase[])[RmsNorm(s.A, s.B), RmsNormBackward(s.A, s.B)]),
        .. Ropes(), Rope("Rope far", [0, 1, -1, 65_535, 65_536, 1 << 20, -(1 << 20) - 3, 1 << 26], 5, 64, false, false, false),
        .. Sizes((0, 5, 0), (1, 1, 0), (4, 7, 0), (33, 256, 3), (7, 1000, 7), (300, 17, 2), (3, 2100, 1)).SelectMany(s => (OpCase[])[CrossEntropy(s.A, s.B, s.C), CrossEntropyBackward(s.A, s.B, s.C, false)]),
        CrossEntropyBackward(9, 31, 2, true),
    ];

    public static IReadOnlyList<OpCase> Large { get; } =
    [
        Embedding(300, 129, 3000), EmbeddingBackward(300, 129, 3000), RmsNorm(2000, 130), RmsNormBackward(2000, 130),
        Rope(1500, 3, 32, false, false, false), CrossEntropy(1500, 256, 30), CrossEntropyBackward(1500, 256, 30, false),
    ];

    private static OpCase Embedding(int v, int d, int t)
    {
        string name = $"Embedding V{v} d{d} T{t}";
        return new OpCase(
            name,
            [OpTensor.In("table", Draw.Normals(name, v * d), v, d), OpTensor.Ids("ids", Draw.Integers(name, t, v), t), OpTensor.Out("y", t, d)],
            (backend, set) => backend.Embedding(set["table"], set["ids"], set["y"]),
            Tolerance.Exact);
    }

    private static OpCase EmbeddingBackward(int v, int d, int t)
    {
        string name = $"EmbeddingBackward V{v} d{d} T{t}";
        return new OpCase(
            name,
            [
                OpTensor.In("dY", Draw.Normals(name, t * d), t, d), OpTensor.Ids("ids", Draw.Integers(name, t, v), t),
                OpTensor.InOut("dTable", Draw.Normals(name + "t", v * d), v, d),
            ],
            (backend, set) => backend.EmbeddingBackward(set["dY"], set["ids"], set["dTable"]),
            run => new() { ["dTable"] = Tolerance.Sum(run.Magnitudes()["dTable"], t) });
    }

    private static OpCase RmsNorm(int t, int d)
    {
        string name = $"RmsNorm T{t} d{d}";

        // The squares are all positive: their sum has relative error gamma(d), its root half of that; then a few roundings.
        double roundings = (d / 2.0) + 8;
        return new OpCase(
            name,
            [
                OpTensor.In("x", Draw.Normals(name, t * d), t, d), OpTensor.In("weight", Draw.Normals(name + "w", d), d),
                OpTensor.Out("y", t, d), OpTensor.Out("inverseRms", t),
            ],
            (backend, set) => backend.RmsNorm(set["x"], set["weight"], 1e-5, set["y"], set["inverseRms"]),
            run => new()
            {
                ["y"] = Tolerance.Sum(run.Magnitudes()["y"], roundings), ["inverseRms"] = Tolerance.Sum(run["inverseRms"], roundings),
            });
    }

    private static OpCase RmsNormBackward(int t, int d)
    {
        string name = $"RmsNormBackward T{t} d{d}";
        return new OpCase(
            name,
            [
                OpTensor.In("x", Draw.Normals(name, t * d), t, d), OpTensor.In("weight", Draw.Normals(name + "w", d), d),
                OpTensor.In("inverseRms", Array.ConvertAll(Draw.Normals(name + "r", t), x => Math.Abs(x)), t),
                OpTensor.In("dY", Draw.Normals(name + "y", t * d), t, d), OpTensor.Out("dX", t, d),
                OpTensor.InOut("dWeight", Draw.Normals(name + "dw", d), d),
            ],
            (backend, set) => backend.RmsNormBackward(set["x"], set["weight"], set["inverseRms"], set["dY"], set["dX"], set["dWeight"]),
            run =>
            {
                double[] x = run["x"], w = run["weight"], r = run["inverseRms"], dY = run["dY"];
                double Sum(int row) => Enumerable.Range(0, d).Sum(i => Math.Abs(x[(row * d) + i] * w[i] * dY[(row * d) + i]));
                return new()
                {
                    // |r w dY| + |x| r^3 / d * sum |x w dY|: a dot product of length d and about ten roundings.
                    ["dX"] = Tolerance.Sum(
                        [.. Enumerable.Range(0, t * d).Select(i =>
                            Math.Abs(r[i / d] * w[i % d] * dY[i]) + (Math.Abs(x[i]) * Math.Pow(r[i / d], 3) / d * Sum(i / d)))],
                        d + 12),
                    ["dWeight"] = Tolerance.Sum(run.Magnitudes()["dWeight"], t + 4),
                };
            });
    }

    private static IEnumerable<OpCase> Ropes() =>
        from shape in ((int T, int Heads, int Width)[])[(0, 1, 2), (1, 1, 2), (5, 3, 6), (40, 2, 64)]
        from interleaved in (bool[])[false, true]
        from inverse in (bool[])[false, true]
        select Rope(shape.T, shape.Heads, shape.Width, interleaved, inverse, inPlace: shape.T == 5);

    private static OpCase Rope(int t, int heads, int width, bool interleaved, bool inverse, bool inPlace)
    {
        string name = $"Rope T{t} H{heads}x{width}{(interleaved ? " interleaved" : string.Empty)}{(inverse ? " inverse" : string.Empty)}{(inPlace ? " in place" : string.Empty)}";
        return Rope(name, Draw.Integers(name, t, 5000), heads, width, interleaved, inverse, inPlace);
    }

    private static OpCase Rope(string name, int[] at, int heads, int width, bool interleaved, bool inverse, bool inPlace)
    {
        int t = at.Length;
        var spec = new RopeSpec(width, 10000, interleaved);
        double[] data = Draw.Normals(name, t * heads * width);
        OpTensor positions = OpTensor.Ids("positions", at, t);
        string source = inPlace ? "y" : "x";
        return new OpCase(
            name,
            inPlace
                ? [positions, OpTensor.InOut("y", data, t, heads * width)]
                : [OpTensor.In("x", data, t, heads * width), positions, OpTensor.Out("y", t, heads * width)],
            (backend, set) => backend.Rope(set[source], set["positions"], spec, inverse, set["y"]),

            // A rotation keeps |a|^2 + |b|^2, and |a cos| + |b sin| <= |a| + |b|; sine and cosine are accurate at any angle.
            run => new()
            {
                ["y"] = Tolerance.Each(data.Length, i =>
                {
                    double[] x = inPlace ? run.Before("y") : run["x"];
                    int head = i / width * width, inHead = i % width;
                    int partner = interleaved ? inHead ^ 1 : (inHead + (width / 2)) % width;
                    return Tolerance.Gamma(Tolerance.Function + 2) * (Math.Abs(x[i]) + Math.Abs(x[head + partner]));
                }),
            });
    }

    private static OpCase CrossEntropy(int t, int v, int ignored)
    {
        string name = $"CrossEntropy T{t} V{v} ignored {ignored}";
        return new OpCase(
            name,
            [
                OpTensor.In("logits", Draw.Normals(name, t * v, 20), t, v) with { FreeWidth = true }, OpTensor.Ids("targets", Targets(name, t, v, ignored), t),
                OpTensor.Out("losses", t), OpTensor.Out("logSumExp", t), OpTensor.Out("mean", 1),
            ],
            (backend, set) => backend.CrossEntropy(set["logits"], set["targets"], set["losses"], set["logSumExp"], set["mean"]),
            run =>
            {
                double[] lse = LogSumExpErrors(run["logits"], t, v, run["logSumExp"]);
                double[] losses = Tolerance.Each(t, i => run["losses"][i] == 0 && run["targets"][i] < 0
                    ? 0
                    : lse[i] + (Tolerance.U * 2 * (Math.Abs(run["logSumExp"][i]) + Math.Abs(run["losses"][i]))));
                double count = Math.Max(1, t - ignored);
                return new()
                {
                    ["logSumExp"] = lse, ["losses"] = losses,
                    ["mean"] = [(losses.Sum() / count) + (Tolerance.Gamma(t + 2) * run["losses"].Sum(Math.Abs) / count)],
                };
            });
    }

    private static OpCase CrossEntropyBackward(int t, int v, int ignored, bool inPlace)
    {
        string name = $"CrossEntropyBackward T{t} V{v} ignored {ignored}{(inPlace ? " in place" : string.Empty)}";
        double[] logits = Draw.Normals(name, t * v, 20);
        double[] lse = [.. Enumerable.Range(0, t).Select(i => (double)(float)LogSumExp(logits.AsSpan(i * v, v)))];
        int[] targets = Targets(name, t, v, ignored);
        string source = inPlace ? "dLogits" : "logits";
        OpTensor[] rest = [OpTensor.Ids("targets", targets, t), OpTensor.In("logSumExp", lse, t), OpTensor.In("dMean", [0.7f], 1)];
        return new OpCase(
            name,
            inPlace ? [OpTensor.InOut("dLogits", logits, t, v), .. rest] : [OpTensor.In("logits", logits, t, v), .. rest, OpTensor.Out("dLogits", t, v)],
            (backend, set) => backend.CrossEntropyBackward(set[source], set["targets"], set["logSumExp"], set["dMean"], set["dLogits"]),
            run => new()
            {
                // exp(l - lse): the difference is rounded, and exp turns that into a relative error.
                ["dLogits"] = Tolerance.Each(t * v, i =>
                {
                    double difference = (inPlace ? run.Before(source) : run[source])[i] - lse[i / v], scale = 0.7 / Math.Max(1, t - ignored);
                    double oneHot = targets[i / v] == i % v ? 1 : 0;
                    return scale * ((Math.Exp(difference) * Tolerance.Gamma(Math.Abs(difference) + Tolerance.Function + 4)) + (oneHot * Tolerance.Gamma(4)));
                }),
            });
    }

    /// <summary>
    /// Error of a log-sum-exp over v values: each exp has its own rounding and that of its argument (at most the spread of the values),
    /// the sum v more; the logarithm turns the relative error of the sum into an absolute one; then the largest value is added.
    /// </summary>
    private static double[] LogSumExpErrors(double[] logits, int t, int v, double[] lse) => Tolerance.Each(t, row =>
    {
        double[] values = logits[(row * v)..((row + 1) * v)];
        return Tolerance.Gamma(v + (2 * Tolerance.Function) + values.Max() - values.Min())
            + (Tolerance.U * 2 * (Math.Abs(values.Max()) + Math.Abs(lse[row])));
    });

    private static double LogSumExp(ReadOnlySpan<double> values)
    {
        double largest = values.ToArray().Max();
        return largest + Math.Log(values.ToArray().Sum(x => Math.Exp(x - largest)));
    }

    private static int[] Targets(string name, int t, int v, int ignored)
    {
        int[] targets = Draw.Integers(name + "targets", t, v);
        Array.Fill(targets, -100, 0, ignored);
        return targets;
    }

    private static (int A, int B)[] Pairs(params (int A, int B)[] values) => values;

    private static (int A, int B, int C)[] Sizes(params (int A, int B, int C)[] values) => values;
}
