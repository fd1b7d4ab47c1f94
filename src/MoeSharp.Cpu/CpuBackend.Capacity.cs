using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <content>
/// Capacity of experts. An expert's pairs are found by one walk over the ids; only when they are too many are they sorted, by rank (of which there is one where the weight goes first), weight
/// and token, which is a total order, so the result does not depend on the sort. Experts are independent.
/// </content>
public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void LimitCapacityCore(
        Tensor ids, Tensor weights, int capacity, RouterSpec spec, CapacityOrder order, Tensor keptIds, Tensor keptWeights, Tensor chunkCounts)
    {
        int tokens = (int)ids.Shape[0];
        var work = new Operands { Ids = Operands.Ints(keptIds), A = Operands.Floats(keptWeights), Rows = tokens, Width = spec.TopK };
        Buffer.MemoryCopy((void*)ids.Pointer, work.Ids, ids.ByteCount, ids.ByteCount);
        Buffer.MemoryCopy((void*)weights.Pointer, work.A, weights.ByteCount, weights.ByteCount);
        if ((long)tokens * spec.TopK > capacity)
        {
            int ranks = order == CapacityOrder.RankFirst ? spec.TopK : 1;
            Parallel.For(spec.Experts, (Work: work, Capacity: capacity, Ranks: ranks, Empty: spec.EmptyId), static (state, expert) =>
                DropBehind(state.Work, expert, state.Capacity, state.Ranks, state.Empty));
        }

        var counts = new DispatchWork { Ids = work.Ids, Next = Operands.Ints(chunkCounts), Tokens = tokens, TopK = spec.TopK, Experts = spec.Experts };
        Parallel.For((int)RoutingPlan.Chunks(tokens), counts, static (w, chunk) => w.Count(chunk));
    }

    /// <summary>Empties the pairs of an expert behind its first ones. Other experts' ids may change meanwhile, but never to this one.</summary>
    private static void DropBehind(Operands work, int expert, int capacity, int ranks, int empty)
    {
        var ids = new ReadOnlySpan<int>(work.Ids, checked(work.Rows * work.Width));
        int count = ids.Count(expert);
        if (count <= capacity)
        {
            return;
        }

        var slots = new int[count];
        for (int slot = 0, next = 0; next < count; slot++)
        {
            slots[next] = slot;
            next += ids[slot] == expert ? 1 : 0;
        }

        float* weights = work.A;
        Array.Sort(slots, (a, b) =>
        {
            int order = (a % ranks).CompareTo(b % ranks);
            order = order != 0 ? order : weights[b].CompareTo(weights[a]);
            return order != 0 ? order : a.CompareTo(b);
        });
        foreach (int slot in slots.AsSpan(capacity))
        {
            work.Ids[slot] = empty;
            work.A[slot] = 0f;
        }
    }
}
