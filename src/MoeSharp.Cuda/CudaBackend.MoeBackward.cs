using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Gate, combine and constant experts, backward. Everything is per token but the gradient of the constants, which adds chunks of tokens in order.</content>
public sealed partial class CudaBackend
{
    private const int RoutingWarps = 8;

    /// <inheritdoc/>
    protected override void GateBackwardCore(
        Tensor logits, Tensor ids, Tensor dWeights, Tensor loads, Tensor dBalanceLoss, Tensor dZLoss, RouterSpec spec, Tensor dLogits)
    {
        int tokens = (int)logits.Shape[0];
        if (tokens == 0)
        {
            return;
        }

        var router = RouterArguments.Of(spec);
        int columns = router.Columns;
        LaunchShape shape = WarpShape(1, 2L + columns, (2L * columns) + (3L * spec.TopK), RoutingWarps, "The gradient of the gate", columns);
        Launch(
            Key("moe/gate_backward.cu"), "gate_backward", shape with { BlocksX = RoutingBlocks(tokens, shape.Threads) },
            [
                logits, ids, dWeights, loads, dBalanceLoss, dZLoss, dLogits, tokens, spec.Experts, columns, spec.TopK, (int)spec.Score,
                (int)spec.Renormalize, (float)spec.NormalizeEpsilon, (float)spec.Scale, (int)spec.NullBalance, spec.SharedNullLogit ? 1 : 0, .. router.Nulls,
            ]);
    }

    /// <inheritdoc/>
    protected override void CombineBackwardCore(
        Tensor dXRows, Tensor dRowWeight, Tensor dOut, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor dX, Tensor dWeights)
    {
        if (plan.Tokens == 0)
        {
            return;
        }

        var router = RouterArguments.Of(spec);
        KernelKey key = Key("moe/combine_backward.cu");
        int width = (int)dXRows.Shape[1];
        if (width > 0)
        {
            bool vector = Vectorizable(width, dXRows, dOut, dX);
            LaunchShape shape = TokenShape(plan.Tokens, width, vector, out int lanes);
            Launch(
                key, vector ? "combine_backward_vector" : "combine_backward_scalar", shape,
                [dXRows, dOut, ids, weights, plan.SlotRow, dX, plan.Tokens, plan.TopK, width, lanes, router.HasIdentity ? 1 : 0, .. router.Nulls]);
        }

        LaunchShape warps = new(RoutingBlocks(plan.Tokens, RoutingThreads), RoutingThreads);
        Launch(
            key, "combine_backward_weights", warps,
            [dRowWeight, dOut, x, ids, plan.SlotRow, dWeights, plan.Tokens, plan.TopK, width, .. router.Nulls]);
    }

    /// <inheritdoc/>
    protected override void ConstantExpertsBackwardCore(
        Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, Tensor dOut, RouterSpec spec, Tensor dX, Tensor dMix, Tensor dConstants, Tensor dWeights)
    {
        var router = RouterArguments.Of(spec);
        int tokens = (int)x.Shape[0], width = (int)x.Shape[1], topK = spec.TopK;
        if (tokens == 0 || router.Constants == 0)
        {
            return;
        }

        KernelKey key = Key("moe/constant_experts.cu");
        nint picks = Scratch(CudaWorkspace.ConstantExpertsBackward(tokens, width, spec));
        nint factors = picks + (nint)CudaWorkspace.ConstantSlots(tokens, topK), partials = factors + (nint)CudaWorkspace.ConstantSlots(tokens, topK);
        LaunchShape shape = WarpShape(1, 0, 2L * topK, RoutingWarps, "The gradient of the constant experts", topK);
        Launch(
            key, "constant_experts_backward", shape with { BlocksX = RoutingBlocks(tokens, shape.Threads) },
            [x, mix, constants, ids, weights, dOut, dX, dMix, dWeights, picks, factors, tokens, topK, width, router.Constants, .. router.Nulls]);
        if (width > 0)
        {
            int chunks = (int)RoutingPlan.Chunks(tokens), threads = Math.Min(RoutingThreads, (width + 31) / 32 * 32);
            LaunchShape columns = new(Blocks(chunks), threads, 0, (width + threads - 1) / threads, router.Constants);
            Launch(key, "constant_experts_chunks", columns, dOut, picks, factors, partials, tokens, topK, width, router.Constants);
            long elements = (long)router.Constants * width;
            LaunchShape finish = new(Blocks((elements + RoutingThreads - 1) / RoutingThreads), RoutingThreads);
            Launch(key, "constant_experts_finish", finish, partials, dConstants, chunks, elements);
        }
    }

    /// <summary>Blocks for a warp per token.</summary>
    private long RoutingBlocks(long tokens, int threads) => Blocks((tokens + (threads / 32) - 1) / (threads / 32));
}
