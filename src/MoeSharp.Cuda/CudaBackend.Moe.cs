using System.Numerics;
using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>
/// Gate, dispatch and combine. A chunk of <see cref="RoutingPlan.ChunkTokens"/> tokens is a block in gate and dispatch, so statistics do not depend
/// on the grid; combine gives every number of the output to one thread.
/// </content>
public sealed partial class CudaBackend
{
    private const int RoutingThreads = 256;

    // Shared memory that a block gets on every device from sm_80 on; more is asked for only when a single warp needs it.
    private const int CommonSharedBytes = 96 << 10;

    // Up to this many slots, dispatch is one block that counts for itself.
    private const int OneBlockSlots = 8192;

    /// <inheritdoc/>
    protected override void GateCore(Tensor logits, Tensor? selectionBias, RouterSpec spec, GateResult result)
    {
        var router = RouterArguments.Of(spec);
        int tokens = (int)logits.Shape[0], columns = router.Columns;
        long chunks = RoutingPlan.Chunks(tokens);
        KernelKey key = Key("moe/gate.cu");
        nint partials = Scratch(CudaWorkspace.Gate(tokens, spec)), nullCounts = partials + (nint)CudaWorkspace.GateNullCounts(tokens, columns);
        bool tops = result.TopCounts is not null;
        nint topCounts = tops ? partials + (nint)CudaWorkspace.GateTopCounts(tokens, spec) : 0;
        if (tokens > 0)
        {
            LaunchShape shape = WarpShape(Blocks(chunks), 32 + (tops ? 2L * columns : columns), (3L * columns) + (4L * spec.TopK) + spec.GroupCount, mostWarps: 32, "The gate", columns);
            Launch(
                key, "gate", shape,
                [
                    logits, selectionBias, result.Ids, result.Weights, result.ChunkCounts, partials, nullCounts, topCounts, tokens, spec.Experts,
                    columns, spec.TopK, spec.EmptyId, (int)spec.Score, (int)spec.Renormalize, (float)spec.NormalizeEpsilon, (float)spec.Scale, (int)spec.SelectionBias, spec.GroupCount,
                    spec.GroupsKept, (int)spec.GroupScore, spec.Selection == Selection.Threshold ? (float)spec.Threshold : 1f, spec.SharedNullLogit ? 1 : 0, .. router.Nulls,
                ]);
        }

        Launch(
            key, "gate_finish", new LaunchShape(1, MaxThreads, MaxThreads * (sizeof(double) + (2 * sizeof(int)))),
            [
                partials, nullCounts, result.ChunkCounts, topCounts, result.Counts, result.TopCounts, result.ProbabilitySums, result.BalanceLoss,
                result.ZLoss, tokens, spec.Experts, columns, (int)spec.NullBalance, spec.SharedNullLogit ? 1 : 0, .. router.Nulls,
            ]);
    }

    /// <inheritdoc/>
    protected override void BalanceLossCore(
        Tensor loads, Tensor otherLoads, Tensor probabilitySums, int tokens, RouterSpec spec, Tensor stepLoads, Tensor balanceLoss)
    {
        var router = RouterArguments.Of(spec);
        Launch(
            Key("moe/balance_loss.cu"), "balance_loss", new LaunchShape(1, 32),
            [
                loads, otherLoads, probabilitySums, stepLoads, balanceLoss, tokens, spec.Experts, router.Columns, (int)spec.NullBalance,
                spec.SharedNullLogit ? 1 : 0, .. router.Nulls,
            ]);
    }

    /// <inheritdoc/>
    protected override void DispatchCore(Tensor ids, Tensor weights, Tensor? chunkCounts, RoutingPlan plan)
    {
        KernelKey key = Key("moe/dispatch.cu");
        int experts = plan.Experts, tokens = plan.Tokens;
        if (tokens == 0 || (chunkCounts is null && (long)tokens * plan.TopK <= OneBlockSlots))
        {
            LaunchShape one = WarpShape(1, 2L * experts, experts, mostWarps: 32, "Dispatch", experts);
            Launch(
                key, "dispatch", one, ids, weights, (nint)0, plan.Offsets, plan.RowToken, plan.RowWeight, plan.SlotRow, tokens, plan.TopK, experts,
                tokens, 1, 0);
            return;
        }

        int chunks = (int)RoutingPlan.Chunks(tokens);
        bool prefixed = chunks > CudaWorkspace.PrefixedChunks;
        nint scratch = chunkCounts is null || prefixed ? Scratch(CudaWorkspace.Dispatch(tokens, experts)) : 0;
        KernelArgument counts = chunkCounts is null ? scratch : chunkCounts;
        if (chunkCounts is null)
        {
            LaunchShape shape = new(Blocks(chunks), RoutingThreads, experts * sizeof(int));
            Launch(key, "dispatch_count", shape, ids, scratch, tokens, plan.TopK, experts);
        }

        if (prefixed)
        {
            nint before = scratch + (nint)CudaWorkspace.DispatchPrefix(tokens, experts);
            LaunchShape shape = new(Blocks((experts + 31L) / 32), MaxThreads, MaxThreads * sizeof(int));
            Launch(key, "dispatch_prefix", shape, counts, before, chunks, experts);
            counts = before;
        }

        LaunchShape chunked = WarpShape(Blocks(chunks), 2L * experts, experts, mostWarps: 8, "Dispatch", experts);
        Launch(
            key, "dispatch", chunked, ids, weights, counts, plan.Offsets, plan.RowToken, plan.RowWeight, plan.SlotRow, tokens, plan.TopK, experts,
            RoutingPlan.ChunkTokens, chunks, prefixed ? 1 : 0);
    }

    /// <inheritdoc/>
    protected override void CombineCore(Tensor y, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor output)
    {
        int width = (int)y.Shape[1];
        if (output.ElementCount == 0)
        {
            return;
        }

        var router = RouterArguments.Of(spec);
        bool vector = Vectorizable(width, y, x, output);
        LaunchShape shape = TokenShape(plan.Tokens, width, vector, out int lanes);
        Launch(
            Key("moe/combine.cu"), vector ? "combine_vector" : "combine_scalar", shape,
            [y, x, ids, weights, plan.SlotRow, output, plan.Tokens, plan.TopK, width, lanes, router.HasIdentity ? 1 : 0, .. router.Nulls]);
    }

    /// <inheritdoc/>
    protected override void ConstantExpertsCore(
        Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, RouterSpec spec, Tensor output)
    {
        var router = RouterArguments.Of(spec);
        if (output.ElementCount == 0 || router.Constants == 0)
        {
            return;
        }

        int tokens = (int)x.Shape[0], width = (int)x.Shape[1];
        bool vector = Vectorizable(width, x, constants, output);
        LaunchShape shape = TokenShape(tokens, width, vector, out int lanes);
        Launch(
            Key("moe/constant_experts.cu"), vector ? "constant_experts_vector" : "constant_experts_scalar", shape,
            [x, mix, constants, ids, weights, output, tokens, spec.TopK, width, router.Constants, lanes, .. router.Nulls]);
    }

    /// <summary>As many warps per block, a power of two, as common shared memory holds; a single warp may ask for all the device has.</summary>
    private LaunchShape WarpShape(long blocks, long words, long wordsPerWarp, int mostWarps, string op, int columns)
    {
        int warps = mostWarps;
        while (warps > 1 && sizeof(int) * (words + (warps * wordsPerWarp)) > CommonSharedBytes)
        {
            warps /= 2;
        }

        long bytes = sizeof(int) * (words + (warps * wordsPerWarp));
        Guard.That(
            bytes <= Info.SharedBytesPerBlock,
            $"{op} keeps a row of {columns:N0} columns in shared memory: {bytes:N0} bytes, more than the {Info.SharedBytesPerBlock:N0} that {Info.Name} has. Use fewer experts, or one shared logit for the null slots.");
        return new LaunchShape(blocks, 32 * warps, (int)bytes);
    }

    /// <summary>Blocks for rows of tokens: neighbouring threads share a token, tiles of columns lie along y.</summary>
    private LaunchShape TokenShape(int tokens, int width, bool vector, out int lanes)
    {
        int perThread = vector ? 16 / FloatType.Size() : 1, threads = (width + perThread - 1) / perThread;
        lanes = (int)Math.Min(RoutingThreads, BitOperations.RoundUpToPowerOf2((uint)threads));
        int tokensPerBlock = RoutingThreads / lanes;
        return new LaunchShape(Blocks(((long)tokens + tokensPerBlock - 1) / tokensPerBlock), RoutingThreads, 0, (threads + lanes - 1) / lanes);
    }
}
