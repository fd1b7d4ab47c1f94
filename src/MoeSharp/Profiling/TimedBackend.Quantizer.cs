using MoeSharp.Core;

namespace MoeSharp.Profiling;

/// <content>Vector quantisation. The forward op makes 3 T N d operations: a difference, a square and a sum per element of every pair.</content>
internal sealed partial class TimedBackend
{
    /// <inheritdoc/>
    protected override void QuantizeCore(Tensor x, Tensor codebook, QuantizerSpec spec, Tensor codes, Tensor distances, Tensor loss, Tensor y)
    {
        (Tensor ix, Tensor iv, Tensor ic, Tensor id, Tensor il, Tensor iy) = (In(x), In(codebook), In(codes), In(distances), In(loss), In(y));
        var work = new OpWork(3.0 * x.ElementCount * codebook.Shape[0], Bytes(x, codebook, codes, distances, y));
        Time("Quantize", work, () => inner.Quantize(ix, iv, spec, ic, id, il, iy));
    }

    /// <inheritdoc/>
    protected override void QuantizeBackwardCore(
        Tensor x, Tensor codebook, Tensor codes, Tensor dLoss, Tensor dY, QuantizerSpec spec, Tensor dX, Tensor dCodebook)
    {
        (Tensor ix, Tensor iv, Tensor ic, Tensor il) = (In(x), In(codebook), In(codes), In(dLoss));
        (Tensor idY, Tensor idX, Tensor idV) = (In(dY), In(dX), In(dCodebook));
        Time("QuantizeBackward", Bytes(x, codebook, codes, dY, dX, dCodebook, dCodebook), () => inner.QuantizeBackward(ix, iv, ic, il, idY, spec, idX, idV));
    }

    /// <inheritdoc/>
    protected override void AssignCodesCore(Tensor codes, Tensor map, Tensor ids, Tensor counts, Tensor chunkCounts)
    {
        (Tensor ic, Tensor im, Tensor ii, Tensor io, Tensor ik) = (In(codes), In(map), In(ids), In(counts), In(chunkCounts));
        Time("AssignCodes", Bytes(codes, map, ids, counts, chunkCounts), () => inner.AssignCodes(ic, im, ii, io, ik));
    }

    /// <inheritdoc/>
    protected override void CodeUsageCore(Tensor codes, double decay, Tensor usage)
    {
        (Tensor ic, Tensor iu) = (In(codes), In(usage));
        Time("CodeUsage", Bytes(codes, usage, usage), () => inner.CodeUsage(ic, decay, iu));
    }

    /// <inheritdoc/>
    protected override void ReviveCodesCore(Tensor anchors, Tensor usage, double decay, double reserve, Tensor master, Tensor codebook)
    {
        (Tensor ia, Tensor iu, Tensor im, Tensor iv) = (In(anchors), In(usage), In(master), In(codebook));
        Time("ReviveCodes", Bytes(anchors, usage, master, master, codebook), () => inner.ReviveCodes(ia, iu, decay, reserve, im, iv));
    }
}
