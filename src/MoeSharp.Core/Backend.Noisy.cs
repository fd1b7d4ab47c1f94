namespace MoeSharp.Core;

/// <content>
/// Noisy top-k gating (Shazeer et al., arXiv 1701.06538, sections 2.1 and 4, appendix A): noise on the logits whose spread is learnt, and two
/// losses, one over weights and one over how likely each expert is to be among the K when the noise is drawn again.
/// </content>
public abstract partial class Backend
{
    /// <summary>Added to the spread of the noise, so that dividing by it is safe however small softplus becomes.</summary>
    public const double NoiseFloor = 0.01;

    /// <summary>noise = N(0, 1) of a stream; noisy = logits + noise * (softplus(spread) + <see cref="NoiseFloor"/>) (arXiv 1701.06538, section 2.1).</summary>
    /// <remarks>Element i of the noise is value <see cref="NoiseRange.First"/> + i of the stream, the same on every backend up to rounding.</remarks>
    /// <param name="logits">[T, E].</param>
    /// <param name="spread">[T, E]: x Wn.</param>
    /// <param name="stream">Which random numbers.</param>
    /// <param name="noise">Wide [T, E], written; kept for backward.</param>
    /// <param name="noisy">[T, E], written: the logits of the gate.</param>
    public void NoisyLogits(Tensor logits, Tensor spread, NoiseRange stream, Tensor noise, Tensor noisy)
    {
        int t = Size(logits, 0, 2), experts = Size(logits, 1, 2);
        Rows(logits, t, experts);
        Rows(spread, t, experts);
        Wide(noise, t, experts);
        Rows(noisy, t, experts);
        Distinct(noise, logits, spread);
        Distinct(noisy, logits, spread, noise);
        NoisyLogitsCore(logits, spread, stream, noise, noisy);
    }

    /// <summary>dSpread = dNoisy * noise * sigmoid(spread). The gradient of the logits is dNoisy itself.</summary>
    /// <param name="spread">[T, E].</param>
    /// <param name="noise">Wide [T, E] from forward.</param>
    /// <param name="dNoisy">[T, E].</param>
    /// <param name="dSpread">[T, E], written.</param>
    public void NoisyLogitsBackward(Tensor spread, Tensor noise, Tensor dNoisy, Tensor dSpread)
    {
        int t = Size(spread, 0, 2), experts = Size(spread, 1, 2);
        Rows(spread, t, experts);
        Wide(noise, t, experts);
        Rows(dNoisy, t, experts);
        Rows(dSpread, t, experts);
        Distinct(dSpread, spread, noise, dNoisy);
        NoisyLogitsBackwardCore(spread, noise, dNoisy, dSpread);
    }

    /// <summary>loss = CV(importance)^2 + CV(load)^2, CV being the standard deviation over the experts divided by their mean (arXiv 1701.06538, section 4 and appendix A).</summary>
    /// <remarks>
    /// importance of an expert: sum of its weights. Load: sum over tokens of the probability that it would be among the K if its own noise
    /// were drawn again and the others' stayed: Phi((logit - h) / s), s = softplus(spread) + <see cref="NoiseFloor"/>, h the K-th largest
    /// noisy logit of the others: that of rank K + 1 for a chosen expert, of rank K for another; 1 when K = E. With no tokens the loss is 0.
    /// Sums run over fixed chunks of tokens in a fixed order.
    /// </remarks>
    /// <param name="logits">[T, E], without noise.</param>
    /// <param name="spread">[T, E].</param>
    /// <param name="noisy">[T, E].</param>
    /// <param name="ids">Int32 [T, K] from <see cref="Gate"/> over the noisy logits: distinct experts.</param>
    /// <param name="weights">Wide [T, K] from the same gate.</param>
    /// <param name="spec">The routing rules; no null slots.</param>
    /// <param name="runnerUp">Int32 [T], written: the expert of rank K + 1 (equal: the lower one; NaN last), -1 when K = E. Kept for backward.</param>
    /// <param name="statistics">Wide [4, E], written: importance, load, and the gradients of the loss with respect to them. Kept for backward.</param>
    /// <param name="loss">Wide [1], written.</param>
    public void NoisyBalance(
        Tensor logits, Tensor spread, Tensor noisy, Tensor ids, Tensor weights, RouterSpec spec, Tensor runnerUp, Tensor statistics, Tensor loss)
    {
        int t = CheckNoisy(logits, spread, noisy, spec);
        CheckGate(ids, weights, t, spec);
        Guard.Is(runnerUp, DType.Int32, [t]);
        Wide(statistics, 4, spec.Experts);
        Wide(loss, 1);
        NoisyBalanceCore(logits, spread, noisy, ids, weights, spec, runnerUp, statistics, loss);
    }

    /// <summary>Gradient of <see cref="NoisyBalance"/>; the choice is constant. Everything is written.</summary>
    /// <param name="logits">[T, E].</param>
    /// <param name="spread">[T, E].</param>
    /// <param name="noisy">[T, E].</param>
    /// <param name="ids">Int32 [T, K].</param>
    /// <param name="runnerUp">Int32 [T] from forward.</param>
    /// <param name="statistics">Wide [4, E] from forward.</param>
    /// <param name="dLoss">Wide [1].</param>
    /// <param name="spec">The routing rules.</param>
    /// <param name="dLogits">[T, E].</param>
    /// <param name="dSpread">[T, E].</param>
    /// <param name="dNoisy">[T, E]: not 0 for ranks K and K + 1 alone.</param>
    /// <param name="dWeights">Wide [T, K].</param>
    public void NoisyBalanceBackward(
        Tensor logits, Tensor spread, Tensor noisy, Tensor ids, Tensor runnerUp, Tensor statistics, Tensor dLoss, RouterSpec spec, Tensor dLogits,
        Tensor dSpread, Tensor dNoisy, Tensor dWeights)
    {
        int t = CheckNoisy(logits, spread, noisy, spec);
        CheckGate(ids, dWeights, t, spec);
        Guard.Is(runnerUp, DType.Int32, [t]);
        Wide(statistics, 4, spec.Experts);
        Wide(dLoss, 1);
        foreach (Tensor destination in (ReadOnlySpan<Tensor>)[dLogits, dSpread, dNoisy])
        {
            Rows(destination, t, spec.Experts);
            Distinct(destination, logits, spread, noisy);
        }

        Distinct(dLogits, dSpread, dNoisy);
        Distinct(dSpread, dNoisy);
        NoisyBalanceBackwardCore(logits, spread, noisy, ids, runnerUp, statistics, dLoss, spec, dLogits, dSpread, dNoisy, dWeights);
    }

#pragma warning disable CS1591 // The Core twins mean what their public methods document.
    protected abstract void NoisyLogitsCore(Tensor logits, Tensor spread, NoiseRange stream, Tensor noise, Tensor noisy);

    protected abstract void NoisyLogitsBackwardCore(Tensor spread, Tensor noise, Tensor dNoisy, Tensor dSpread);

    protected abstract void NoisyBalanceCore(
        Tensor logits, Tensor spread, Tensor noisy, Tensor ids, Tensor weights, RouterSpec spec, Tensor runnerUp, Tensor statistics, Tensor loss);

    protected abstract void NoisyBalanceBackwardCore(
        Tensor logits, Tensor spread, Tensor noisy, Tensor ids, Tensor runnerUp, Tensor statistics, Tensor dLoss, RouterSpec spec, Tensor dLogits,
        Tensor dSpread, Tensor dNoisy, Tensor dWeights);
#pragma warning restore CS1591

    private int CheckNoisy(Tensor logits, Tensor spread, Tensor noisy, RouterSpec spec)
    {
        int t = Size(logits, 0, 2);
        Guard.That(spec.NullSlots == 0, $"The losses of noisy top-k are over real experts, this router has {spec.NullSlots} null slots.");
        Rows(logits, t, spec.Experts);
        Rows(spread, t, spec.Experts);
        Rows(noisy, t, spec.Experts);
        return t;
    }
}
