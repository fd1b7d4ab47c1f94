namespace MoeSharp.Conformance;

/// <summary>GEMM in all four orientations, with and without accumulation.</summary>
public sealed class GemmCases : ICatalog
{
    private static readonly (int M, int N, int K)[] s_shapes =
    [
        (0, 5, 3), (5, 0, 3), (5, 3, 0), (1, 1, 1), (1, 100, 40), (7, 13, 5), (14, 32, 17), (16, 32, 64), (136, 264, 72), (33, 65, 129), (130, 70, 257), (3, 2, 1100), (1100, 72, 8), (13, 24, 2051), (136, 128, 2056),
    ];

    public static IReadOnlyList<OpCase> All { get; } =
    [
        .. s_shapes.SelectMany(shape => Orientations(shape.M, shape.N, shape.K)),
        .. Orientations(5, 3, 0, wide: true), .. Orientations(33, 65, 129, wide: true), .. Orientations(130, 72, 40, wide: true), .. Orientations(9, 16, 4096, wide: true),
    ];

    public static IReadOnlyList<OpCase> Large { get; } = [.. Orientations(301, 233, 517), .. Orientations(5, 1000, 700), .. Orientations(1000, 9, 700)];

    private static IEnumerable<OpCase> Orientations(int m, int n, int k, bool wide = false) =>
        from transposeA in (bool[])[false, true]
        from transposeB in (bool[])[false, true]
        from accumulate in (bool[])[false, true]
        select Gemm(m, n, k, transposeA, transposeB, accumulate, wide);

    private static OpCase Gemm(int m, int n, int k, bool transposeA, bool transposeB, bool accumulate, bool wide)
    {
        string name = $"Gemm {m}x{n}x{k}{(transposeA ? " A^T" : string.Empty)}{(transposeB ? " B^T" : string.Empty)}{(accumulate ? " +=" : string.Empty)}{(wide ? " wide" : string.Empty)}";
        long[] a = transposeA ? [k, m] : [m, k], b = transposeB ? [n, k] : [k, n];
        return new OpCase(
            name,
            [
                OpTensor.In("a", Draw.Normals(name + "a", (long)m * k), a),
                OpTensor.In("b", Draw.Normals(name + "b", (long)n * k), b),
                (accumulate ? OpTensor.InOut("c", Draw.Normals(name + "c", (long)m * n), m, n) : OpTensor.Out("c", m, n)) with { MadeWide = wide },
            ],
            (backend, t) => backend.Gemm(t["a"], t["b"], transposeA, transposeB, accumulate, t["c"]),
            run => new() { ["c"] = Tolerance.Sum(run.Magnitudes()["c"], k + 1) });
    }
}
