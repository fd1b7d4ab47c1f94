namespace MoeSharp.Conformance;

/// <summary>Element-wise ops, biases, SwiGLU, the sigmoid gate.</summary>
public sealed class ElementwiseCases : ICatalog
{
    private static readonly (int T, int N)[] s_shapes = [(0, 3), (1, 1), (5, 7), (33, 16), (300, 33)];

    public static IReadOnlyList<OpCase> All { get; } =
    [
        .. ((int[])[0, 1, 7, 8, 15, 16, 17, 1000, 4097]).SelectMany(Vectors),
        .. s_shapes.SelectMany(shape => Rows(shape.T, shape.N)),
    ];

    public static IReadOnlyList<OpCase> Large { get; } = [.. Vectors(70_001), .. Rows(1500, 65)];

    private static IEnumerable<OpCase> Vectors(int n)
    {
        double[] a = Draw.Normals($"a{n}", n), b = Draw.Normals($"b{n}", n);
        OpTensor x = OpTensor.In("x", a, n).OfAnyShape(), y = OpTensor.Out("y", n).OfAnyShape(), both = OpTensor.InOut("y", b, n).OfAnyShape();
        Dictionary<string, double[]> Roundings(OpRun run, int count) => new() { ["y"] = Tolerance.Sum(run.Magnitudes()["y"], count) };
        yield return new OpCase(
            $"Add {n}", [OpTensor.In("a", a, n).OfAnyShape(), OpTensor.In("b", b, n).OfAnyShape(), y],
            (backend, t) => backend.Add(t["a"], t["b"], t["y"]), run => Roundings(run, 1));
        yield return new OpCase($"Add {n} in place", [x, both], (backend, t) => backend.Add(t["y"], t["x"], t["y"]), run => Roundings(run, 1));

        // The factor is a double; a float32 backend may round it first.
        yield return new OpCase($"Axpy {n}", [x, both], (backend, t) => backend.Axpy(0.3, t["x"], t["y"]), run => Roundings(run, 3));
        yield return new OpCase($"Scale {n}", [x, y], (backend, t) => backend.Scale(t["x"], 0.3, t["y"]), run => Roundings(run, 2));
        yield return new OpCase($"Scale {n} in place", [both], (backend, t) => backend.Scale(t["y"], 0.3, t["y"]), run => Roundings(run, 2));
        yield return new OpCase($"Fill {n}", [y with { FreeWidth = true }], (backend, t) => backend.Fill(t["y"], -2.5), Tolerance.Exact);
    }

    private static IEnumerable<OpCase> Rows(int t, int n)
    {
        string name = $"T{t} n{n}";
        OpTensor x = OpTensor.In("x", Draw.Normals(name + "x", t * n), t, n), y = OpTensor.Out("y", t, n);
        OpTensor bias = OpTensor.In("bias", Draw.Normals(name + "b", n), n), dY = OpTensor.In("dY", Draw.Normals(name + "dy", t * n), t, n);
        Dictionary<string, double[]> One(OpRun run, string output, double roundings) =>
            new() { [output] = Tolerance.Sum(run.Magnitudes()[output], roundings) };
        yield return new OpCase($"AddBias {name}", [x, bias, y], (b, s) => b.AddBias(s["x"], s["bias"], s["y"]), run => One(run, "y", 1));
        yield return new OpCase(
            $"AddBias {name} in place", [OpTensor.InOut("y", x.Data, t, n), bias], (b, s) => b.AddBias(s["y"], s["bias"], s["y"]), run => One(run, "y", 1));
        yield return new OpCase(
            $"AddBiasBackward {name}", [dY, OpTensor.InOut("dBias", Draw.Normals(name + "db", n), n)],
            (b, s) => b.AddBiasBackward(s["dY"], s["dBias"]), run => One(run, "dBias", t));
        yield return SwiGlu(t, n);
        yield return SwiGluBackward(t, n);
        yield return SigmoidGate(t, n);
        yield return SigmoidGateBackward(t, n);
    }

    private static OpCase SwiGlu(int t, int n)
    {
        string name = $"SwiGlu T{t} n{n}";
        return new OpCase(
            name,
            [OpTensor.In("z", Activation.GateUp(name, t, n), t, 2 * n), OpTensor.Out("a", t, n)],
            (b, s) => b.SwiGlu(s["z"], s["a"]),
            run => new() { ["a"] = Tolerance.Each(t * n, i => Activation.SwiGluError(run["z"], i / n, i % n, n)) });
    }

    private static OpCase SwiGluBackward(int t, int n)
    {
        string name = $"SwiGluBackward T{t} n{n}";
        return new OpCase(
            name,
            [OpTensor.In("z", Activation.GateUp(name, t, n), t, 2 * n), OpTensor.In("dA", Draw.Normals(name + "d", t * n), t, n), OpTensor.Out("dZ", t, 2 * n)],
            (b, s) => b.SwiGluBackward(s["z"], s["dA"], s["dZ"]),
            run => new()
            {
                ["dZ"] = Tolerance.Each(2 * t * n, i => Activation.SwiGluGradientError(run["z"], i / (2 * n), i % (2 * n), n, Math.Abs(run["dA"][(i / (2 * n) * n) + (i % n)]))),
            });
    }

    private static OpCase SigmoidGate(int t, int d)
    {
        string name = $"SigmoidGate T{t} d{d}";
        return new OpCase(
            name,
            [OpTensor.In("x", Draw.Normals(name, t * d), t, d), OpTensor.In("gate", Draw.Normals(name + "g", t, 4), t, 1), OpTensor.Out("y", t, d)],
            (b, s) => b.SigmoidGate(s["x"], s["gate"], s["y"]),
            run => new() { ["y"] = Tolerance.Sum(run.Magnitudes("gate")["y"], Tolerance.Function + 4) });
    }

    private static OpCase SigmoidGateBackward(int t, int d)
    {
        string name = $"SigmoidGateBackward T{t} d{d}";
        return new OpCase(
            name,
            [
                OpTensor.In("x", Draw.Normals(name, t * d), t, d), OpTensor.In("gate", Draw.Normals(name + "g", t, 4), t, 1),
                OpTensor.In("dY", Draw.Normals(name + "y", t * d), t, d), OpTensor.Out("dX", t, d), OpTensor.Out("dGate", t, 1),
            ],
            (b, s) => b.SigmoidGateBackward(s["x"], s["gate"], s["dY"], s["dX"], s["dGate"]),
            run => new()
            {
                ["dX"] = Tolerance.Sum(run.Magnitudes("gate")["dX"], Tolerance.Function + 4),

                // 1 - s is a difference: its error is that of s, not of the small result. So s stands for s (1 - s).
                ["dGate"] = Tolerance.Each(t, i =>
                    Tolerance.Gamma(d + (2 * Tolerance.Function) + 4) * Activation.Sigmoid(run["gate"][i])
                    * Enumerable.Range(i * d, d).Sum(j => Math.Abs(run["dY"][j] * run["x"][j]))),
            });
    }
}
