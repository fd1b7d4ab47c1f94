using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>Dispatch over the sizes at which chunks, warps and histograms begin and end.</summary>
public sealed class DispatchCases : ICatalog
{
    private static readonly int[] s_tokens = [0, 1, 31, 32, 33, 255, 256, 257];

    public static IReadOnlyList<OpCase> All { get; } =
    [
        .. from t in s_tokens
           from e in (int[])[1, 2, 8, 63, 64, 128, 384, 512, 1024]
           from k in (int[])[1, 2, 8, 10, 16]
           from share in (double[])[0, 0.5, 0.75, 1]
           where k <= Math.Max(e, 2) && (share == 0.5 || (e <= 384 && k != 10 && ((t + e + k) % 3 == 0 || t is 0 or 256)))
           select Random($"T{t} E{e} K{k} null {share}", t, k, e, share, hot: false),
        .. s_tokens.Select(t => Random($"T{t} E8 K2", t, 2, 8, 0.5, hot: false, counted: true)),
        Random("T4096 E384 K8", 4096, 8, 384, 0.25, hot: false, counted: true), Random("T1000 E64 K8 hot", 1000, 8, 64, 0.5, hot: true, counted: true),
        Random("T4096 E8 K2", 4096, 2, 8, 0.5, hot: false), Random("T4096 E384 K8", 4096, 8, 384, 0.25, hot: false),
        Random("T4096 E64 K8 hot", 4096, 8, 64, 0.5, hot: true), Random("T257 E8 K2 hot", 257, 2, 8, 0, hot: true),
        Garbage(0, 4, 3), Garbage(33, 4, 3), Garbage(1000, 16, 7),
        .. from t in (int[])[0, 1, 33, 300]
           from capacity in (int[])[1, 7, 60]
           from order in Enum.GetValues<CapacityOrder>()
           select Capacity(t, capacity, order, tied: t == 300 && capacity == 7),
        Duplicates(1, 4, 1), Duplicates(300, 8, 4), Duplicates(257, 2, 64),
    ];

    public static IReadOnlyList<OpCase> Large { get; } =
    [
        Random("T20000 E128 K8", 20_000, 8, 128, 0.5, hot: false), Random("T20000 E64 K4 hot", 20_000, 4, 64, 0.25, hot: true),
        Random("T100003 E64 K2", 100_003, 2, 64, 0.5, hot: false), Random("T100003 E512 K2", 100_003, 2, 512, 0.75, hot: false, counted: true),
        Capacity(3000, 400, CapacityOrder.RankFirst, tied: true), Capacity(3000, 400, CapacityOrder.WeightFirst, tied: true),
    ];

    /// <summary>Dispatch of a given routing.</summary>
    public static OpCase Dispatch(string name, Routing routing, bool counted = false) => new(
        $"Dispatch {name}{(counted ? " counted" : string.Empty)}",
        [
            routing.IdsInput(), routing.WeightsInput(), .. counted ? [routing.ChunkCountsInput()] : (OpTensor[])[], OpTensor.OutIds("offsets", routing.Experts + 1),
            OpTensor.OutIds("rowToken", routing.Capacity) with { Valid = routing.Rows },
            OpTensor.Out("rowWeight", routing.Capacity) with { Valid = routing.Rows }, OpTensor.OutIds("slotRow", routing.Tokens, routing.TopK),
        ],
        (backend, t) => backend.Dispatch(t["ids"], t["weights"], counted ? t["chunkCounts"] : null, routing.Plan(t)),
        Tolerance.Exact);

    private static OpCase Random(string name, int t, int k, int e, double nullShare, bool hot, bool counted = false) =>
        Dispatch(name, Routing.Random(name, t, k, e, nullShare, 3, hot), counted);

    /// <summary>Ids far outside of every range: none of them may get a row, or touch memory.</summary>
    private static OpCase Garbage(int t, int k, int e)
    {
        int[] strange = [int.MinValue, int.MaxValue, e, e + 1, -1, -1000, 1 << 20, 0, e - 1];
        int[] ids = Array.ConvertAll(Draw.Integers($"garbage {t}", t * k, strange.Length), i => strange[i]);
        return Dispatch($"garbage T{t} K{k} E{e}", Routing.From(t, k, e, ids, Draw.Normals("garbage", t * k)));
    }

    /// <summary>The same expert several times in one token: one row each.</summary>
    private static OpCase Duplicates(int t, int k, int e) =>
        Dispatch($"duplicates T{t} K{k} E{e}", Routing.From(t, k, e, Draw.Integers($"duplicates {t}", t * k, e), Draw.Normals("duplicates", t * k)));

    /// <summary>A capacity over a hot routing; weights are random, or few different ones.</summary>
    private static OpCase Capacity(int t, int capacity, CapacityOrder order, bool tied)
    {
        const int Experts = 6, Ranks = 3;
        var spec = new RouterSpec { Experts = Experts, TopK = Ranks, Nulls = [new(NullKind.Zero, 2)] };
        var routing = Routing.Random($"capacity {t} {capacity}", t, Ranks, Experts, 0.2, 2, hot: true);
        double[] weights = tied ? Array.ConvertAll(Draw.Integers("tied", t * Ranks, 3), i => i / 4.0) : routing.Weights;
        return new(
            $"LimitCapacity T{t} C{capacity} {order}",
            [
                routing.IdsInput(), OpTensor.In("weights", weights, t, Ranks), OpTensor.OutIds("keptIds", t, Ranks), OpTensor.Out("keptWeights", t, Ranks),
                OpTensor.OutIds("chunkCounts", RoutingPlan.Chunks(t), Experts),
            ],
            (backend, s) => backend.LimitCapacity(s["ids"], s["weights"], capacity, spec, order, s["keptIds"], s["keptWeights"], s["chunkCounts"]),
            Tolerance.Exact);
    }
}
