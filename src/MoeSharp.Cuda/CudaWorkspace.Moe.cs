using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Routing.</content>
public static partial class CudaWorkspace
{
    /// <summary>Chunks from which on dispatch sums the counts of chunks once, in a launch of its own, and not in every block.</summary>
    internal const long PrefixedChunks = 128;

    /// <summary>Bytes for <see cref="Backend.Gate"/>: statistics per chunk of tokens.</summary>
    public static long Gate(long tokens, RouterSpec spec)
    {
        ArgumentNullException.ThrowIfNull(spec);
        return GateTopCounts(tokens, spec) + (spec.BalanceLoad == BalanceLoad.Top1 ? RoutingPlan.Chunks(tokens) * spec.Columns * sizeof(int) : 0);
    }

    /// <summary>Bytes for <see cref="Backend.Dispatch"/>: counts per chunk of tokens, and their sums.</summary>
    public static long Dispatch(long tokens, int experts)
    {
        long chunks = RoutingPlan.Chunks(tokens);
        return DispatchPrefix(tokens, experts) + (chunks > PrefixedChunks ? (chunks + 1) * experts * sizeof(int) : 0);
    }

    /// <summary>Bytes for <see cref="Backend.NoisyBalance"/>: sums per chunk of tokens.</summary>
    public static long NoisyBalance(long tokens, int experts) => RoutingPlan.Chunks(tokens) * 2 * experts * sizeof(float);

    /// <summary>Bytes for <see cref="Backend.ConstantExpertsBackward"/>: constant and factor of every slot, and sums per chunk of tokens.</summary>
    public static long ConstantExpertsBackward(long tokens, int width, RouterSpec spec)
    {
        ArgumentNullException.ThrowIfNull(spec);
        return (2 * ConstantSlots(tokens, spec.TopK)) + (RoutingPlan.Chunks(tokens) * spec.ConstantSlots * width * sizeof(float));
    }

    /// <summary>Where the counts of null columns begin in the workspace of the gate.</summary>
    internal static long GateNullCounts(long tokens, int columns) => Aligned(RoutingPlan.Chunks(tokens) * (1 + columns) * sizeof(float));

    /// <summary>Where the counts of rank 1 begin in the workspace of the gate.</summary>
    internal static long GateTopCounts(long tokens, RouterSpec spec) =>
        GateNullCounts(tokens, spec.Columns) + Aligned(RoutingPlan.Chunks(tokens) * (spec.Columns - spec.Experts) * sizeof(int));

    /// <summary>Where the sums over chunks begin in the workspace of dispatch.</summary>
    internal static long DispatchPrefix(long tokens, int experts) => Aligned(RoutingPlan.Chunks(tokens) * experts * sizeof(int));

    /// <summary>Bytes of a number per slot.</summary>
    internal static long ConstantSlots(long tokens, int topK) => Aligned(tokens * topK * sizeof(int));

    private static long Aligned(long bytes) => (bytes + 255) & -256;
}
