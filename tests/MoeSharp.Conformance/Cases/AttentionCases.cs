using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>Attention, forward and backward; the key cache forms forward only.</summary>
public sealed class AttentionCases : ICatalog
{
    private static readonly AttentionSpec[] s_specs =
    [
        Spec(0, 3, 3, 2, 1, 4), Spec(2, 0, 0, 2, 1, 4), Spec(2, 0, 3, 2, 1, 4), Spec(1, 1, 1, 1, 1, 1), Spec(2, 5, 5, 4, 2, 8), Spec(1, 33, 33, 3, 1, 16),
        Spec(2, 70, 70, 2, 2, 12) with { Causal = false }, Spec(1, 130, 130, 2, 1, 32), Spec(3, 4, 9, 4, 1, 8), Spec(1, 1, 67, 2, 1, 16),
        Spec(2, 3, 5, 2, 1, 6) with { Causal = false }, Spec(1, 35, 38, 2, 1, 40), Spec(1, 19, 35, 2, 2, 100), Spec(1, 34, 37, 2, 1, 200),
    ];

    public static IReadOnlyList<OpCase> All { get; } =
    [
        .. s_specs.SelectMany(spec => (OpCase[])[Forward(spec), Backward(spec)]),
        Forward(Spec(2, 1, 6, 2, 1, 8) with { KeyCapacity = 11 }), Forward(Spec(2, 4, 7, 4, 2, 8) with { KeyCapacity = 8 }),

        // Few queries against many keys, which may be divided; some queries see none of the last 200 keys.
        Forward(Spec(2, 1, 531, 4, 2, 3) with { KeyCapacity = 540 }), Forward(Spec(1, 201, 520, 1, 1, 4)),
    ];

    public static IReadOnlyList<OpCase> Large { get; } =
        [Forward(Spec(2, 260, 260, 6, 2, 32)), Backward(Spec(2, 260, 260, 6, 2, 32)), Forward(Spec(1, 1, 700, 8, 8, 16))];

    private static AttentionSpec Spec(int batch, int queries, int keys, int heads, int keyHeads, int width) =>
        new(batch, queries, keys, heads, keyHeads, width, 1 / Math.Sqrt(width));

    private static OpCase Forward(AttentionSpec spec)
    {
        string name = $"Attention {Text(spec)}";
        (long queries, long keys) = (spec.Batch * spec.QueryLength, spec.Batch * spec.KeyStride);
        return new OpCase(
            name,
            [.. Inputs(name, spec), OpTensor.Out("o", queries, spec.Heads * spec.HeadDim), OpTensor.Out("logSumExp", queries, spec.Heads)],
            (backend, t) => backend.Attention(t["q"], t["k"], t["v"], spec, t["o"], t["logSumExp"]),
            run => new AttentionErrors(spec, run).Forward());
    }

    private static OpCase Backward(AttentionSpec spec)
    {
        string name = $"AttentionBackward {Text(spec)}";
        OpTensor[] inputs = Inputs(name, spec);
        (long queries, long keys) = (spec.Batch * spec.QueryLength, spec.Batch * spec.KeyStride);
        (int width, int keyWidth) = (spec.Heads * spec.HeadDim, spec.KeyValueHeads * spec.HeadDim);

        // Both backends start from the same forward results, rounded to binary32; the large cases take any numbers of the right size.
        OpRun? forward = queries * spec.KeyLength < 20_000 ? (Forward(spec) with { Tensors = [.. inputs, .. Forward(spec).Outputs] }).RunOnReference() : null;
        double[] o = forward?["o"] ?? Draw.Normals(name + "o", queries * width, 0.1), lse = forward?["logSumExp"] ?? Array.ConvertAll(Draw.Normals(name + "lse", queries * spec.Heads), x => 6 + x);
        return new OpCase(
            name,
            [
                .. inputs, OpTensor.In("o", Rounded(o), queries, width), OpTensor.In("logSumExp", Rounded(lse), queries, spec.Heads),
                OpTensor.In("dO", Draw.Normals(name + "do", queries * width), queries, width),
                OpTensor.Out("dQ", queries, width), OpTensor.Out("dK", keys, keyWidth), OpTensor.Out("dV", keys, keyWidth),
            ],
            (backend, t) => backend.AttentionBackward(t["q"], t["k"], t["v"], t["o"], t["logSumExp"], t["dO"], spec, t["dQ"], t["dK"], t["dV"]),
            run => new AttentionErrors(spec, run).Backward());
    }

    private static OpTensor[] Inputs(string name, AttentionSpec spec)
    {
        (long queries, long keys) = (spec.Batch * spec.QueryLength, spec.Batch * spec.KeyStride);
        (int width, int keyWidth) = (spec.Heads * spec.HeadDim, spec.KeyValueHeads * spec.HeadDim);
        return
        [
            OpTensor.In("q", Draw.Normals(name + "q", queries * width, 2), queries, width), OpTensor.In("k", Cache(name + "k", spec, keyWidth), keys, keyWidth),
            OpTensor.In("v", Cache(name + "v", spec, keyWidth), keys, keyWidth),
        ];
    }

    /// <summary>Keys or values; rows of a cache behind the valid length are NaN: whoever reads them shows it.</summary>
    private static double[] Cache(string name, AttentionSpec spec, int width)
    {
        double[] values = Draw.Normals(name, (long)spec.Batch * spec.KeyStride * width);
        for (int b = 0; b < spec.Batch; b++)
        {
            Array.Fill(values, double.NaN, ((b * spec.KeyStride) + spec.KeyLength) * width, (spec.KeyStride - spec.KeyLength) * width);
        }

        return values;
    }

    private static double[] Rounded(double[] values) => Array.ConvertAll(values, x => (double)(float)x);

    private static string Text(AttentionSpec spec) =>
        $"B{spec.Batch} {spec.QueryLength}/{spec.KeyLength}/{spec.KeyStride} H{spec.Heads}:{spec.KeyValueHeads}x{spec.HeadDim}{(spec.Causal ? string.Empty : " full")}";
}
