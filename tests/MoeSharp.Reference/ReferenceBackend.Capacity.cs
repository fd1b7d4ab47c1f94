using MoeSharp.Core;

namespace MoeSharp.Reference;

/// <content>Capacity of experts: of all pairs of an expert, those that as many as C others come before are dropped.</content>
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    protected override void LimitCapacityCore(
        Tensor ids, Tensor weights, int capacity, RouterSpec spec, CapacityOrder order, Tensor keptIds, Tensor keptWeights, Tensor chunkCounts)
    {
        int ranks = spec.TopK, ranked = order == CapacityOrder.RankFirst ? ranks : 1;
        int[] id = Ints(ids).ToArray();
        double[] weight = Floats(weights).ToArray();
        id.CopyTo(Ints(keptIds));
        weight.CopyTo(Floats(keptWeights));
        for (int expert = 0; expert < spec.Experts; expert++)
        {
            IEnumerable<int> pairs = Enumerable.Range(0, id.Length).Where(slot => id[slot] == expert);
            foreach (int slot in pairs.OrderBy(slot => slot % ranked).ThenByDescending(slot => weight[slot]).ThenBy(slot => slot).Skip(capacity))
            {
                Ints(keptIds)[slot] = spec.EmptyId;
                Floats(keptWeights)[slot] = 0;
            }
        }

        Ints(chunkCounts).Clear();
        for (int slot = 0; slot < id.Length; slot++)
        {
            int kept = Ints(keptIds)[slot];
            if (kept >= 0 && kept < spec.Experts)
            {
                Ints(chunkCounts)[(slot / ranks / RoutingPlan.ChunkTokens * spec.Experts) + kept]++;
            }
        }
    }
}
