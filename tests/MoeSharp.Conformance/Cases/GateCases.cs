using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>The gate, its balance loss over a larger step, and its gradient for every router of <see cref="RouterSpecs"/>.</summary>
/// <remarks>
/// Logits and biases are multiples of 1/64, so that their sums are exact in binary32 and equal scores are equal on every backend:
/// ids and counts must be the oracle's exactly, ties included.
/// </remarks>
public sealed class GateCases : ICatalog
{
    private static readonly int[] s_tokens = [0, 1, 7, 100, 300];

    public static IReadOnlyList<OpCase> All { get; } =
    [
        .. from spec in RouterSpecs.All
           from t in s_tokens
           from op in (OpCase[])[Gate(spec.Key, spec.Value, t), GateBackward(spec.Key, spec.Value, t)]
           select op,
        .. from spec in RouterSpecs.All
           from t in (int[])[0, 100]
           select BalanceLoss(spec.Key, spec.Value, t, othersMost: 90),
    ];

    public static IReadOnlyList<OpCase> Large { get; } =
    [
        .. from name in (string[])["null experts", "deepseek-v3", "moe++", "sigmoid, chosen", "threshold, nulls, chosen", "many experts"]
           from op in (OpCase[])[Gate(name, RouterSpecs.All[name], 3000), GateBackward(name, RouterSpecs.All[name], 3000)]
           select op,
    ];

    /// <summary>The gate of a router over made-up logits.</summary>
    public static OpCase Gate(string name, RouterSpec spec, int t)
    {
        bool biased = spec.SelectionBias != SelectionBias.None, tops = spec.BalanceLoad == BalanceLoad.Top1;
        OpTensor bias = OpTensor.In("selectionBias", Bias(name, spec), spec.Columns);
        return new OpCase(
            $"Gate {name} T{t}",
            [
                OpTensor.In("logits", Logits(name, spec, t), t, spec.Columns), .. biased ? [bias] : (OpTensor[])[],
                OpTensor.OutIds("ids", t, spec.TopK), OpTensor.Out("weights", t, spec.TopK), OpTensor.OutIds("counts", spec.Columns),
                OpTensor.OutIds("chunkCounts", RoutingPlan.Chunks(t), spec.Experts),
                OpTensor.Out("probabilitySums", spec.Columns), OpTensor.Out("balanceLoss", 1), OpTensor.Out("zLoss", 1),
                .. tops ? [OpTensor.OutIds("topCounts", spec.Columns)] : (OpTensor[])[],
            ],
            (backend, s) => backend.Gate(
                s["logits"], biased ? s["selectionBias"] : null, spec,
                new GateResult(s["ids"], s["weights"], s["counts"], s["chunkCounts"], s["probabilitySums"], s["balanceLoss"], s["zLoss"], tops ? s["topCounts"] : null)),
            run => new GateErrors(spec, t, run["logits"]).Forward(run));
    }

    /// <summary>The balance loss of a gate's tokens as part of a step, whose other tokens gave every column up to a number of slots.</summary>
    public static OpCase BalanceLoss(string name, RouterSpec spec, int t, int othersMost)
    {
        OpRun forward = Gate(name, spec, t).RunOnReference();
        int c = spec.Columns;
        return new OpCase(
            $"BalanceLoss {name} T{t}",
            [
                OpTensor.Ids("loads", LoadsOf(spec, forward), c), OpTensor.Ids("otherLoads", Draw.Integers(name + "others", c, othersMost + 1), c),
                OpTensor.In("probabilitySums", Array.ConvertAll(forward["probabilitySums"], x => (double)(float)x), c),
                OpTensor.OutIds("stepLoads", c), OpTensor.Out("balanceLoss", 1),
            ],
            (backend, s) => backend.BalanceLoss(s["loads"], s["otherLoads"], s["probabilitySums"], t, spec, s["stepLoads"], s["balanceLoss"]),

            // Added up in double: what is rounded is the result.
            run => new() { ["balanceLoss"] = [Tolerance.Gamma(2) * run["balanceLoss"][0]] });
    }

    /// <summary>The gradient of a gate.</summary>
    public static OpCase GateBackward(string name, RouterSpec spec, int t)
    {
        double[] logits = Logits(name, spec, t);
        OpRun forward = Gate(name, spec, t).RunOnReference();
        return new OpCase(
            $"GateBackward {name} T{t}",
            [
                OpTensor.In("logits", logits, t, spec.Columns), OpTensor.Ids("ids", Array.ConvertAll(forward["ids"], x => (int)x), t, spec.TopK),
                OpTensor.In("dWeights", Draw.Normals(name + "dw", (long)t * spec.TopK), t, spec.TopK),
                OpTensor.Ids("loads", LoadsOf(spec, forward), spec.Columns),
                OpTensor.In("dBalanceLoss", [0.75], 1), OpTensor.In("dZLoss", [-0.5], 1), OpTensor.Out("dLogits", t, spec.Columns),
            ],
            (backend, s) => backend.GateBackward(
                s["logits"], s["ids"], s["dWeights"], s["loads"], s["dBalanceLoss"], s["dZLoss"], spec, s["dLogits"]),
            run => new() { ["dLogits"] = new GateErrors(spec, t, run["logits"]).Backward(run, 0.75, 0.5) });
    }

    private static int[] LoadsOf(RouterSpec spec, OpRun forward) =>
        Array.ConvertAll(forward[spec.BalanceLoad == BalanceLoad.Top1 ? "topCounts" : "counts"], x => (int)x);

    private static double[] Logits(string name, RouterSpec spec, int t) => Draw.Grid(name + "logits", (long)t * spec.Columns, 1.5);

    /// <summary>Both signs: a group that is left out must not win against negative scores.</summary>
    private static double[] Bias(string name, RouterSpec spec) => Array.ConvertAll(Draw.Grid(name + "bias", spec.Columns, 0.5), x => x - 0.5);
}
