using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>The grouped expert ops, forward and backward, over every kind of routing.</summary>
public sealed class ExpertCases : ICatalog
{
    public static IReadOnlyList<OpCase> All { get; } = [.. Layers().SelectMany(layer => layer.Cases())];

    public static IReadOnlyList<OpCase> Large { get; } =
    [
        .. new Layer("T700 E9 K3", Routing.Random("large", 700, 3, 9, 0.4), 129, 65).Cases(),
        .. new Layer("T900 E3 K2 hot", Routing.Random("large hot", 900, 2, 3, 0.2, hot: true), 64, 96).Cases(),
        .. new Layer("T1 E8 K4", Routing.Random("decode", 1, 4, 8, 0), 515, 260).Cases(),
    ];

    private static IEnumerable<Layer> Layers()
    {
        yield return new("T0", Routing.Random("a", 0, 2, 4, 0), 5, 3);
        yield return new("T1 K1 E1", Routing.Random("b", 1, 1, 1, 0), 1, 1);
        yield return new("T5 all null", Routing.Random("c", 5, 2, 4, 1), 7, 6);
        yield return new("T6 odd", Routing.Random("d", 6, 2, 3, 0.3), 7, 5);
        yield return new("T40 half null", Routing.Random("e", 40, 4, 8, 0.5), 33, 17);
        yield return new("T64", Routing.Random("f", 64, 2, 4, 0), 32, 48);
        yield return new("T70 one expert for all", Routing.From(70, 1, 3, [.. Enumerable.Repeat(1, 70)], Draw.Normals("g", 70)), 24, 16);
        yield return new("T50 hot", Routing.Random("h", 50, 2, 16, 0.2, hot: true), 19, 31);
        yield return new("T9 empty experts", Routing.From(9, 2, 64, Draw.Integers("i", 18, 3), Draw.Normals("i", 18)), 16, 8);
        yield return new("T17 duplicates", Routing.From(17, 3, 2, Draw.Integers("j", 51, 2), Draw.Normals("j", 51)), 130, 33);
        yield return new("T3 E384", Routing.Random("k", 3, 8, 384, 0.25), 12, 4);
        yield return new("T15 deep", Routing.Random("l", 15, 1, 2, 0), 300, 280);
        yield return new("T300 wide tiles", Routing.Random("m", 300, 1, 2, 0.05), 136, 136);
        yield return new("rows around tiles", Sized("o", 0, 1, 7, 8, 63, 64, 65, 127, 128, 129, 1000), 24, 24);
        yield return new("hidden of a model", Sized("p", 2, 0, 1), 2304, 72);
        yield return new("width of a model", Sized("q", 2, 0, 1), 64, 1504);
        yield return new("T1100 many tiles", Routing.Random("n", 1100, 1, 2, 0, hot: true), 8, 40);
    }

    /// <summary>Experts with exactly these numbers of rows, in shuffled tokens.</summary>
    private static Routing Sized(string name, params int[] sizes)
    {
        int[] ids = [.. sizes.SelectMany((size, expert) => Enumerable.Repeat(expert, size))];
        int[] keys = Draw.Integers(name, ids.Length, int.MaxValue);
        Array.Sort(keys, ids);
        return Routing.From(ids.Length, 1, sizes.Length, ids, Draw.Normals(name, ids.Length));
    }

    private sealed record Layer(string Name, Routing Routing, int D, int N)
    {
        private long Capacity => Routing.Capacity;

        public IEnumerable<OpCase> Cases() => [Up(), Down(), DownBackward(), DownWeightGrad(), UpBackward(), UpWeightGrad()];

        private OpCase Up() => new(
            $"ExpertUp {Name}",
            [Floats("x", Routing.Tokens, D), Weights("w1", 2 * N, D), .. Routing.PlanInputs(), RowsOut("z", 2 * N), RowsOut("a", N)],
            (backend, t) => backend.ExpertUp(t["x"], t["w1"], Routing.Plan(t), t["z"], t["a"]),
            run =>
            {
                double[] z = Tolerance.Sum(run.Magnitudes()["z"], D);

                // |d silu / dg| <= 1.1: the error of a is that of its formula plus what the errors of gate and up become.
                return new()
                {
                    ["z"] = z,
                    ["a"] = Tolerance.Each(run["a"].Length, i =>
                    {
                        (int row, int gate) = (i / N, (i / N * 2 * N) + (i % N));
                        return Activation.SwiGluError(run["z"], row, i % N, N)
                            + (1.1 * z[gate] * (Math.Abs(run["z"][gate + N]) + z[gate + N])) + (z[gate + N] * Math.Abs(run["z"][gate]));
                    }),
                };
            });

        private OpCase Down() => new(
            $"ExpertDown {Name}",
            [RowsIn("a", N), Weights("w2", D, N), .. Routing.PlanInputs(), RowsOut("y", D)],
            (backend, t) => backend.ExpertDown(t["a"], t["w2"], Routing.Plan(t), t["y"]),
            run => new() { ["y"] = Tolerance.Sum(run.Magnitudes()["y"], N) });

        private OpCase DownBackward() => new(
            $"ExpertDownBackward {Name}",
            [
                Floats("dOut", Routing.Tokens, D), RowsIn("z", 2 * N), Weights("w2", D, N), .. Routing.PlanInputs(),
                RowsOut("dZ", 2 * N), RowsOut("weightedA", N), OpTensor.Out("dRowWeight", Capacity) with { Valid = Routing.Rows },
            ],
            (backend, t) => backend.ExpertDownBackward(t["dOut"], t["z"], t["w2"], Routing.Plan(t), t["dZ"], t["weightedA"], t["dRowWeight"]),
            DownBackwardBounds);

        private OpCase DownWeightGrad() => new(
            $"ExpertDownWeightGrad {Name}",
            [Floats("dOut", Routing.Tokens, D), RowsIn("weightedA", N), .. Routing.PlanInputs(), Accumulated("dW2", D, N)],
            (backend, t) => backend.ExpertDownWeightGrad(t["dOut"], t["weightedA"], Routing.Plan(t), t["dW2"]),
            run => new() { ["dW2"] = Tolerance.Sum(run.Magnitudes()["dW2"], Routing.Longest + 1) });

        private OpCase UpBackward() => new(
            $"ExpertUpBackward {Name}",
            [RowsIn("dZ", 2 * N), Weights("w1", 2 * N, D), .. Routing.PlanInputs(), RowsOut("dXRows", D)],
            (backend, t) => backend.ExpertUpBackward(t["dZ"], t["w1"], Routing.Plan(t), t["dXRows"]),
            run => new() { ["dXRows"] = Tolerance.Sum(run.Magnitudes()["dXRows"], 2 * N) });

        private OpCase UpWeightGrad() => new(
            $"ExpertUpWeightGrad {Name}",
            [RowsIn("dZ", 2 * N), Floats("x", Routing.Tokens, D), .. Routing.PlanInputs(), Accumulated("dW1", 2 * N, D)],
            (backend, t) => backend.ExpertUpWeightGrad(t["dZ"], t["x"], Routing.Plan(t), t["dW1"]),
            run => new() { ["dW1"] = Tolerance.Sum(run.Magnitudes()["dW1"], Routing.Longest + 1) });

        private Dictionary<string, double[]> DownBackwardBounds(OpRun run)
        {
            // dA' is a sum of D products; everything behind it inherits the error of that sum.
            double[] dA = DownMagnitudes(run);
            double[] rowWeights = run["rowWeight"];
            double Value(int row, int i) => Math.Abs(run["z"][(row * 2 * N) + i]) * Activation.Sigmoid(run["z"][(row * 2 * N) + i]) * Math.Abs(run["z"][(row * 2 * N) + N + i]);
            return new()
            {
                ["dZ"] = Tolerance.Each(run["dZ"].Length, i =>
                {
                    (int row, int column) = (i / (2 * N), i % (2 * N));
                    double g = Math.Abs(rowWeights[row]) * dA[(row * N) + (column % N)];
                    return Activation.SwiGluGradientError(run["z"], row, column, N, g, before: D + 1);
                }),
                ["weightedA"] = Tolerance.Each(run["weightedA"].Length, i =>
                    Math.Abs(rowWeights[i / N]) * (Activation.SwiGluError(run["z"], i / N, i % N, N) + (Tolerance.U * Value(i / N, i % N)))),
                ["dRowWeight"] = Tolerance.Each(run["dRowWeight"].Length, row =>
                    Tolerance.Gamma(D + N + Tolerance.Function + 4) * Enumerable.Range(0, N).Sum(i => dA[(row * N) + i] * (Value(row, i) + Tolerance.Tiny))),
            };
        }

        /// <summary>sum over i of |dOut_i| |W2_ij| per row.</summary>
        private double[] DownMagnitudes(OpRun run)
        {
            var dA = new double[Routing.Rows * N];
            for (int expert = 0; expert < Routing.Experts; expert++)
            {
                for (int row = Routing.Offsets[expert]; row < Routing.Offsets[expert + 1]; row++)
                {
                    for (int i = 0; i < D * N; i++)
                    {
                        dA[(row * N) + (i % N)] += Math.Abs(run["dOut"][(Routing.RowToken[row] * D) + (i / N)] * run["w2"][(expert * D * N) + i]);
                    }
                }
            }

            return dA;
        }

        private OpTensor Floats(string name, long rows, int width) => OpTensor.In(name, Draw.Normals(Name + name, rows * width), rows, width);

        private OpTensor Weights(string name, int rows, int columns) =>
            OpTensor.In(name, Draw.Normals(Name + name, (long)Routing.Experts * rows * columns), Routing.Experts, rows, columns);

        private OpTensor Accumulated(string name, int rows, int columns) => Weights(name, rows, columns) with { Role = Role.InOut };

        private OpTensor RowsIn(string name, int width) => Floats(name, Capacity, width).First(Routing.Rows);

        private OpTensor RowsOut(string name, int width) => OpTensor.Out(name, Capacity, width).First(Routing.Rows);
    }
}
