using MoeSharp.Core;

namespace MoeSharp.Profiling;

/// <content>Noisy top-k: bound by the bytes it reads and writes.</content>
internal sealed partial class TimedBackend
{
    /// <inheritdoc/>
    protected override void NoisyLogitsCore(Tensor logits, Tensor spread, NoiseRange stream, Tensor noise, Tensor noisy)
    {
        (Tensor il, Tensor ispread, Tensor inoise, Tensor iy) = (In(logits), In(spread), In(noise), In(noisy));
        Time("NoisyLogits", Bytes(logits, spread, noise, noisy), () => inner.NoisyLogits(il, ispread, stream, inoise, iy));
    }

    /// <inheritdoc/>
    protected override void NoisyLogitsBackwardCore(Tensor spread, Tensor noise, Tensor dNoisy, Tensor dSpread)
    {
        (Tensor ispread, Tensor inoise, Tensor idY, Tensor idS) = (In(spread), In(noise), In(dNoisy), In(dSpread));
        Time("NoisyLogitsBackward", Bytes(spread, noise, dNoisy, dSpread), () => inner.NoisyLogitsBackward(ispread, inoise, idY, idS));
    }

    /// <inheritdoc/>
    protected override void NoisyBalanceCore(
        Tensor logits, Tensor spread, Tensor noisy, Tensor ids, Tensor weights, RouterSpec spec, Tensor runnerUp, Tensor statistics, Tensor loss)
    {
        (Tensor il, Tensor ispread, Tensor iy, Tensor ii, Tensor iw) = (In(logits), In(spread), In(noisy), In(ids), In(weights));
        (Tensor ir, Tensor istat, Tensor iloss) = (In(runnerUp), In(statistics), In(loss));
        Time(
            "NoisyBalance", Bytes(logits, spread, noisy, ids, weights, runnerUp, statistics),
            () => inner.NoisyBalance(il, ispread, iy, ii, iw, spec, ir, istat, iloss));
    }

    /// <inheritdoc/>
    protected override void NoisyBalanceBackwardCore(
        Tensor logits, Tensor spread, Tensor noisy, Tensor ids, Tensor runnerUp, Tensor statistics, Tensor dLoss, RouterSpec spec, Tensor dLogits,
        Tensor dSpread, Tensor dNoisy, Tensor dWeights)
    {
        (Tensor il, Tensor ispread, Tensor iy, Tensor ii) = (In(logits), In(spread), In(noisy), In(ids));
        (Tensor ir, Tensor istat, Tensor idLoss) = (In(runnerUp), In(statistics), In(dLoss));
        (Tensor idL, Tensor idS, Tensor idY, Tensor idW) = (In(dLogits), In(dSpread), In(dNoisy), In(dWeights));
        Time(
            "NoisyBalanceBackward", Bytes(logits, spread, noisy, ids, runnerUp, statistics, dLogits, dSpread, dNoisy, dWeights),
            () => inner.NoisyBalanceBackward(il, ispread, iy, ii, ir, istat, idLoss, spec, idL, idS, idY, idW));
    }
}
