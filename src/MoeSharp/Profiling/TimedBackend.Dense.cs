using MoeSharp.Core;

namespace MoeSharp.Profiling;

/// <content>Dense ops, attention, losses and the optimizer.</content>
internal sealed partial class TimedBackend
{
    /// <inheritdoc/>
    protected override void GemmCore(Tensor a, Tensor b, bool transposeA, bool transposeB, bool accumulate, Tensor c, int m, int n, int k)
    {
        (Tensor ia, Tensor ib, Tensor ic) = (In(a), In(b), In(c));
        string use = transposeA ? "dW" : transposeB ? "forward" : "dX";
        var work = new OpWork(2.0 * m * n * k, Bytes(a, b) + (Bytes(c) * (accumulate ? 2 : 1)));
        Time($"Gemm {use} {m}x{n}x{k}", work, () => inner.Gemm(ia, ib, transposeA, transposeB, accumulate, ic));
    }

    /// <inheritdoc/>
    protected override void EmbeddingCore(Tensor table, Tensor ids, Tensor y)
    {
        (Tensor itable, Tensor iids, Tensor iy) = (In(table), In(ids), In(y));
        Time("Embedding", Bytes(ids) + (2 * Bytes(y)), () => inner.Embedding(itable, iids, iy));
    }

    /// <inheritdoc/>
    protected override void EmbeddingBackwardCore(Tensor dY, Tensor ids, Tensor dTable)
    {
        (Tensor idY, Tensor iids, Tensor idTable) = (In(dY), In(ids), In(dTable));
        double touched = Math.Min(Bytes(dTable), (double)dY.ElementCount * WideType.Size());
        Time("EmbeddingBackward", Bytes(dY, ids) + (2 * touched), () => inner.EmbeddingBackward(idY, iids, idTable));
    }

    /// <inheritdoc/>
    protected override void RmsNormCore(Tensor x, Tensor weight, double epsilon, Tensor y, Tensor inverseRms)
    {
        (Tensor ix, Tensor iw, Tensor iy, Tensor ii) = (In(x), In(weight), In(y), In(inverseRms));
        Time("RmsNorm", Bytes(x, weight, y, inverseRms), () => inner.RmsNorm(ix, iw, epsilon, iy, ii));
    }

    /// <inheritdoc/>
    protected override void RmsNormBackwardCore(Tensor x, Tensor weight, Tensor inverseRms, Tensor dY, Tensor dX, Tensor dWeight)
    {
        (Tensor ix, Tensor iw, Tensor ii, Tensor idY, Tensor idX, Tensor idW) = (In(x), In(weight), In(inverseRms), In(dY), In(dX), In(dWeight));
        Time("RmsNormBackward", Bytes(x, weight, inverseRms, dY, dX, dWeight, dWeight), () => inner.RmsNormBackward(ix, iw, ii, idY, idX, idW));
    }

    /// <inheritdoc/>
    protected override void RopeCore(Tensor x, Tensor positions, RopeSpec rope, bool inverse, Tensor y)
    {
        (Tensor ix, Tensor ip, Tensor iy) = (In(x), In(positions), In(y));
        Time(inverse ? "RopeBackward" : "Rope", Bytes(x, positions, y), () => inner.Rope(ix, ip, rope, inverse, iy));
    }

    /// <inheritdoc/>
    protected override void AddCore(Tensor a, Tensor b, Tensor y)
    {
        (Tensor ia, Tensor ib, Tensor iy) = (In(a), In(b), In(y));
        Time("Add", Bytes(a, b, y), () => inner.Add(ia, ib, iy));
    }

    /// <inheritdoc/>
    protected override void AxpyCore(double alpha, Tensor x, Tensor y)
    {
        (Tensor ix, Tensor iy) = (In(x), In(y));
        Time("Axpy", Bytes(x, y, y), () => inner.Axpy(alpha, ix, iy));
    }

    /// <inheritdoc/>
    protected override void ScaleCore(Tensor x, double alpha, Tensor y)
    {
        (Tensor ix, Tensor iy) = (In(x), In(y));
        Time("Scale", Bytes(x, y), () => inner.Scale(ix, alpha, iy));
    }

    /// <inheritdoc/>
    protected override void FillCore(Tensor y, double value)
    {
        Tensor iy = In(y);
        Time("Fill", Bytes(y), () => inner.Fill(iy, value));
    }

    /// <inheritdoc/>
    protected override void AddBiasCore(Tensor x, Tensor bias, Tensor y)
    {
        (Tensor ix, Tensor ib, Tensor iy) = (In(x), In(bias), In(y));
        Time("AddBias", Bytes(x, bias, y), () => inner.AddBias(ix, ib, iy));
    }

    /// <inheritdoc/>
    protected override void AddBiasBackwardCore(Tensor dY, Tensor dBias)
    {
        (Tensor idY, Tensor idBias) = (In(dY), In(dBias));
        Time("AddBiasBackward", Bytes(dY, dBias, dBias), () => inner.AddBiasBackward(idY, idBias));
    }

    /// <inheritdoc/>
    protected override void SwiGluCore(Tensor z, Tensor a)
    {
        (Tensor iz, Tensor ia) = (In(z), In(a));
        Time("SwiGlu", Bytes(z, a), () => inner.SwiGlu(iz, ia));
    }

    /// <inheritdoc/>
    protected override void SwiGluBackwardCore(Tensor z, Tensor dA, Tensor dZ)
    {
        (Tensor iz, Tensor idA, Tensor idZ) = (In(z), In(dA), In(dZ));
        Time("SwiGluBackward", Bytes(z, dA, dZ), () => inner.SwiGluBackward(iz, idA, idZ));
    }

    /// <inheritdoc/>
    protected override void SigmoidGateCore(Tensor x, Tensor gate, Tensor y)
    {
        (Tensor ix, Tensor ig, Tensor iy) = (In(x), In(gate), In(y));
        Time("SigmoidGate", Bytes(x, gate, y), () => inner.SigmoidGate(ix, ig, iy));
    }

    /// <inheritdoc/>
    protected override void SigmoidGateBackwardCore(Tensor x, Tensor gate, Tensor dY, Tensor dX, Tensor dGate)
    {
        (Tensor ix, Tensor ig, Tensor idY, Tensor idX, Tensor idG) = (In(x), In(gate), In(dY), In(dX), In(dGate));
        Time("SigmoidGateBackward", Bytes(x, gate, dY, dX, dGate), () => inner.SigmoidGateBackward(ix, ig, idY, idX, idG));
    }

    /// <inheritdoc/>
    protected override void CrossEntropyCore(Tensor logits, Tensor targets, Tensor losses, Tensor logSumExp, Tensor mean)
    {
        (Tensor il, Tensor it, Tensor io, Tensor ie, Tensor im) = (In(logits), In(targets), In(losses), In(logSumExp), In(mean));
        Time("CrossEntropy", Bytes(logits, targets, losses, logSumExp, mean), () => inner.CrossEntropy(il, it, io, ie, im));
    }

    /// <inheritdoc/>
    protected override void CrossEntropyBackwardCore(Tensor logits, Tensor targets, Tensor logSumExp, Tensor dMean, Tensor dLogits)
    {
        (Tensor il, Tensor it, Tensor ie, Tensor im, Tensor id) = (In(logits), In(targets), In(logSumExp), In(dMean), In(dLogits));
        Time("CrossEntropyBackward", Bytes(logits, targets, logSumExp, dMean, dLogits), () => inner.CrossEntropyBackward(il, it, ie, im, id));
    }

    /// <inheritdoc/>
    protected override void AttentionCore(Tensor q, Tensor k, Tensor v, AttentionSpec spec, Tensor o, Tensor logSumExp)
    {
        (Tensor iq, Tensor ik, Tensor iv, Tensor io, Tensor ie) = (In(q), In(k), In(v), In(o), In(logSumExp));
        var work = new OpWork(4 * Visible(spec), Bytes(q, k, v, o, logSumExp));
        Time("Attention", work, () => inner.Attention(iq, ik, iv, spec, io, ie));
    }

    /// <inheritdoc/>
    protected override void AttentionBackwardCore(
        Tensor q, Tensor k, Tensor v, Tensor o, Tensor logSumExp, Tensor dO, AttentionSpec spec, Tensor dQ, Tensor dK, Tensor dV)
    {
        (Tensor iq, Tensor ik, Tensor iv, Tensor io, Tensor ie) = (In(q), In(k), In(v), In(o), In(logSumExp));
        (Tensor idO, Tensor idQ, Tensor idK, Tensor idV) = (In(dO), In(dQ), In(dK), In(dV));
        var work = new OpWork(8 * Visible(spec), Bytes(q, k, v, o, logSumExp, dO, dQ, dK, dV));
        Time("AttentionBackward", work, () => inner.AttentionBackward(iq, ik, iv, io, ie, idO, spec, idQ, idK, idV));
    }

    /// <inheritdoc/>
    protected override void GradNormCore(IReadOnlyList<Tensor> gradients, Tensor norm)
    {
        Tensor[] all = [.. gradients.Select(In)];
        Tensor inorm = In(norm);
        Time("GradNorm", Bytes(all), () => inner.GradNorm(all, inorm));
    }

    /// <inheritdoc/>
    protected override void ClipFactorCore(Tensor norm, double maxNorm, Tensor factor)
    {
        (Tensor inorm, Tensor ifactor) = (In(norm), In(factor));
        Time("ClipFactor", Bytes(norm, factor), () => inner.ClipFactor(inorm, maxNorm, ifactor));
    }

    /// <inheritdoc/>
    protected override void AdamWCore(
        Tensor gradient, Tensor factor, AdamWStep step, Tensor master, Tensor firstMoment, Tensor secondMoment, Tensor parameter)
    {
        (Tensor ig, Tensor factorIn, Tensor im, Tensor i1, Tensor i2) = (In(gradient), In(factor), In(master), In(firstMoment), In(secondMoment));
        Tensor ip = In(parameter);
        double bytes = Bytes(gradient) + (2 * Bytes(master, firstMoment, secondMoment)) + (master.Pointer == parameter.Pointer ? 0 : Bytes(parameter));
        Time("AdamW", bytes, () => inner.AdamW(ig, factorIn, step, im, i1, i2, ip));
    }

    // Query-key pairs that count, times the width of a head, over all heads and sequences.
    private static double Visible(AttentionSpec spec)
    {
        double queries = spec.QueryLength, keys = spec.KeyLength;
        double pairs = spec.Causal ? (queries * (keys - queries)) + (queries * (queries + 1) / 2) : queries * keys;
        return pairs * spec.Batch * spec.Heads * spec.HeadDim;
    }
}
