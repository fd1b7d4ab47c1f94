using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Noisy top-k. A block takes a chunk of <see cref="RoutingPlan.ChunkTokens"/> tokens, so sums do not depend on the grid.</content>
public sealed partial class CudaBackend
{
    private const string NoisyFile = "moe/noisy.cu";

    /// <inheritdoc/>
    protected override void NoisyLogitsCore(Tensor logits, Tensor spread, NoiseRange stream, Tensor noise, Tensor noisy)
    {
        if (logits.ElementCount > 0)
        {
            Launch(
                Key(NoisyFile), "noisy_logits", ElementShape(logits), logits, spread, unchecked((long)stream.Seed), unchecked((long)stream.Stream),
                unchecked((long)stream.First), noise, noisy, logits.ElementCount);
        }
    }

    /// <inheritdoc/>
    protected override void NoisyLogitsBackwardCore(Tensor spread, Tensor noise, Tensor dNoisy, Tensor dSpread)
    {
        if (spread.ElementCount > 0)
        {
            Launch(Key(NoisyFile), "noisy_logits_backward", ElementShape(spread), spread, noise, dNoisy, dSpread, spread.ElementCount);
        }
    }

    /// <inheritdoc/>
    protected override void NoisyBalanceCore(
        Tensor logits, Tensor spread, Tensor noisy, Tensor ids, Tensor weights, RouterSpec spec, Tensor runnerUp, Tensor statistics, Tensor loss)
    {
        int tokens = (int)logits.Shape[0], experts = spec.Experts, chunks = (int)RoutingPlan.Chunks(tokens);
        nint partials = Scratch(CudaWorkspace.NoisyBalance(tokens, experts));
        if (tokens > 0)
        {
            LaunchShape shape = WarpShape(Blocks(chunks), 0, 2L * experts, mostWarps: 8, "Noisy top-k", experts);
            Launch(
                Key(NoisyFile), "noisy_balance", shape, logits, spread, noisy, ids, weights, runnerUp, partials, tokens, experts, spec.TopK);
        }

        Launch(
            Key(NoisyFile), "noisy_balance_finish", new LaunchShape(1, RoutingThreads, RoutingThreads / 32 * 2 * sizeof(double)), partials, statistics, loss,
            chunks, experts);
    }

    /// <inheritdoc/>
    protected override void NoisyBalanceBackwardCore(
        Tensor logits, Tensor spread, Tensor noisy, Tensor ids, Tensor runnerUp, Tensor statistics, Tensor dLoss, RouterSpec spec, Tensor dLogits,
        Tensor dSpread, Tensor dNoisy, Tensor dWeights)
    {
        int tokens = (int)logits.Shape[0];
        if (tokens > 0)
        {
            LaunchShape shape = new(Blocks((tokens + (RoutingThreads / 32) - 1L) / (RoutingThreads / 32)), RoutingThreads);
            Launch(
                Key(NoisyFile), "noisy_balance_backward", shape, logits, spread, noisy, ids, runnerUp, statistics, dLoss, dLogits, dSpread, dNoisy, dWeights,
                tokens, spec.Experts, spec.TopK);
        }
    }

    private LaunchShape ElementShape(Tensor tensor) => new(Blocks((tensor.ElementCount + RoutingThreads - 1) / RoutingThreads), RoutingThreads);
}
