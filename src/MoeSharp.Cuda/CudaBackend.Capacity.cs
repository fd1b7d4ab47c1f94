using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Capacity of experts: a block per expert, then the counts that dispatch starts from.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void LimitCapacityCore(
        Tensor ids, Tensor weights, int capacity, RouterSpec spec, CapacityOrder order, Tensor keptIds, Tensor keptWeights, Tensor chunkCounts)
    {
        int tokens = (int)ids.Shape[0];
        if (tokens == 0)
        {
            return;
        }

        KernelKey key = Key("moe/capacity.cu");
        long slots = (long)tokens * spec.TopK;
        Launch(
            key, "capacity_copy", new LaunchShape(Blocks((slots + RoutingThreads - 1) / RoutingThreads), RoutingThreads), ids, weights, keptIds,
            keptWeights, slots);

        // Where the weight goes first, all slots are of one rank.
        bool ranked = order == CapacityOrder.RankFirst;
        Launch(
            key, "capacity", new LaunchShape(Blocks(spec.Experts), RoutingThreads, RoutingThreads / 32 * sizeof(int)), ids, weights, keptIds,
            keptWeights, ranked ? tokens : checked((int)slots), ranked ? spec.TopK : 1, spec.Experts, capacity, spec.EmptyId);
        Launch(
            Key("moe/dispatch.cu"), "dispatch_count", new LaunchShape(Blocks(RoutingPlan.Chunks(tokens)), RoutingThreads, spec.Experts * sizeof(int)),
            keptIds, chunkCounts, tokens, spec.TopK, spec.Experts);
    }
}
