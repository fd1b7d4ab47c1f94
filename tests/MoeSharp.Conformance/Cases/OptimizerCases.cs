using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>Gradient norm, clipping and AdamW.</summary>
public sealed class OptimizerCases : ICatalog
{
    public static IReadOnlyList<OpCase> All { get; } =
    [
        GradNorm(), GradNorm(0), GradNorm(1), GradNorm(7, 0, 33), GradNorm(5000, 3, 17),
        ClipFactor(3, 1), ClipFactor(0.5, 1), ClipFactor(3, 0), ClipFactor(0, 1),
        AdamW(0, 1, 0.1), AdamW(1, 1, 0.1), AdamW(17, 2, 0), AdamW(1000, 500, 0.1),
    ];

    public static IReadOnlyList<OpCase> Large { get; } = [GradNorm(70_001, 300, 9000), AdamW(70_001, 3, 0.1)];

    private static OpCase GradNorm(params int[] sizes)
    {
        string name = $"GradNorm [{string.Join(", ", sizes)}]";
        return new OpCase(
            name,
            [.. sizes.Select((n, i) => OpTensor.In($"g{i}", Draw.Normals(name + i, n), n).OfAnyShape() with { FreeWidth = true }), OpTensor.Out("norm", 1)],
            (backend, t) => backend.GradNorm([.. sizes.Select((_, i) => t[$"g{i}"])], t["norm"]),

            // Accumulated in double on host backends, so only the result is rounded; 2 for the root's own.
            run => new() { ["norm"] = Tolerance.Sum(run["norm"], 2) });
    }

    private static OpCase ClipFactor(double norm, double maxNorm) => new(
        $"ClipFactor {norm} of {maxNorm}",
        [OpTensor.In("norm", [norm], 1), OpTensor.Out("factor", 1)],
        (backend, t) => backend.ClipFactor(t["norm"], maxNorm, t["factor"]),
        run => new() { ["factor"] = Tolerance.Sum(run["factor"], 4) });

    private static OpCase AdamW(int n, int step, double decay)
    {
        string name = $"AdamW {n} step {step} decay {decay}";
        var arguments = new AdamWStep(1e-2, 0.9, 0.95, 1e-8, decay, step);
        return new OpCase(
            name,
            [
                OpTensor.In("gradient", Draw.Normals(name + "g", n), n).OfAnyShape(), OpTensor.In("factor", [0.625], 1),
                OpTensor.InOut("master", Draw.Normals(name + "p", n), n).OfAnyShape(),
                OpTensor.InOut("firstMoment", Draw.Normals(name + "m", n), n).OfAnyShape(),
                OpTensor.InOut("secondMoment", Array.ConvertAll(Draw.Normals(name + "v", n), Math.Abs), n).OfAnyShape(), OpTensor.Out("parameter", n).OfAnyShape(),
            ],
            (backend, t) => backend.AdamW(t["gradient"], t["factor"], arguments, t["master"], t["firstMoment"], t["secondMoment"], t["parameter"]),
            run =>
            {
                // The first moment is a difference of terms; its error, divided like the moment, is what the update inherits.
                double[] m = run.Magnitudes()["firstMoment"];
                double[] master = Tolerance.Each(n, i =>
                {
                    double root = Math.Sqrt(run["secondMoment"][i] / (1 - Math.Pow(0.95, step))) + 1e-8;
                    double update = 1e-2 * m[i] / (1 - Math.Pow(0.9, step)) / root;
                    return (Tolerance.Gamma(24) * update) + (Tolerance.Gamma(4) * Math.Abs(run.Before("master")[i]));
                });
                return new()
                {
                    ["firstMoment"] = Tolerance.Sum(m, 6), ["secondMoment"] = Tolerance.Sum(run["secondMoment"], 8),
                    ["master"] = master, ["parameter"] = master,
                };
            });
    }
}
