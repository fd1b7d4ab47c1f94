namespace MoeSharp.Core;

/// <content>Vector quantisation: nearest code, commitment loss and straight-through mix as one op; experts of codes, usage and revival of codes.</content>
public abstract partial class Backend
{
    /// <summary>Every row's nearest code, the loss of the codebook, and the row mixed with its code; see <see cref="QuantizerSpec"/>.</summary>
    /// <remarks>
    /// <para>The code of a row is the one with the smallest sum of squared differences, as this op sums it in float32 (cosine: of the unit
    /// vectors, x times the rounded 1/||x||); equal sums: the lower code; a sum that is NaN or infinite never wins, and where no other is
    /// left the code is 0. Differences are squared as they are: the shorter ||v||^2 - 2 x v with a matrix product has an error of the size of
    /// ||x||^2 and not of the distance, so that codes near each other but far from 0 would tie or change places.</para>
    /// <para>loss = (1 + commitment) * mean over T d elements of squared differences: ||sg(x) - v||^2 + commitment ||x - sg(v)||^2.</para>
    /// </remarks>
    /// <param name="x">[T, d].</param>
    /// <param name="codebook">[N, d], N &gt;= 1.</param>
    /// <param name="spec">Distance, mix and commitment.</param>
    /// <param name="codes">Int32 [T], in 0..N-1.</param>
    /// <param name="distances">Wide [T]: squared distance to the code.</param>
    /// <param name="loss">Wide [1]; 0 without elements.</param>
    /// <param name="y">[T, d].</param>
    public void Quantize(Tensor x, Tensor codebook, QuantizerSpec spec, Tensor codes, Tensor distances, Tensor loss, Tensor y)
    {
        spec.Validate();
        int t = Size(x, 0, 2), d = Size(x, 1, 2), n = Size(codebook, 0, 2);
        Guard.That(n >= 1, "A codebook needs at least 1 code.");
        Rows(x, t, d);
        Rows(codebook, n, d);
        Guard.Is(codes, DType.Int32, [t]);
        Wide(distances, t);
        Wide(loss, 1);
        Rows(y, t, d);
        Distinct(y, x, codebook);
        QuantizeCore(x, codebook, spec, codes, distances, loss, y);
    }

    /// <summary>Gradient of <see cref="Quantize"/>. The choice of the code is constant.</summary>
    /// <remarks>
    /// With g = 2 dLoss / (T d). Euclidean: dX = carry dY + g commitment (x - v), dV[c] += g (v - x). Cosine, with u and w the unit vectors:
    /// dX = carry dY + g commitment (cos u - w) / ||x||, dV[c] += g (cos w - u) / ||v||; 0 where a length is 0. Tokens are added in a fixed order.
    /// </remarks>
    /// <param name="x">[T, d].</param>
    /// <param name="codebook">[N, d].</param>
    /// <param name="codes">Int32 [T] from forward, each in 0..N-1 (a backend on the host checks; others clamp).</param>
    /// <param name="dLoss">Wide [1].</param>
    /// <param name="dY">[T, d].</param>
    /// <param name="spec">As in forward.</param>
    /// <param name="dX">[T, d].</param>
    /// <param name="dCodebook">Wide [N, d], accumulated.</param>
    public void QuantizeBackward(Tensor x, Tensor codebook, Tensor codes, Tensor dLoss, Tensor dY, QuantizerSpec spec, Tensor dX, Tensor dCodebook)
    {
        spec.Validate();
        int t = Size(x, 0, 2), d = Size(x, 1, 2), n = Size(codebook, 0, 2);
        Guard.That(n >= 1, "A codebook needs at least 1 code.");
        Rows(x, t, d);
        Rows(codebook, n, d);
        Guard.Is(codes, DType.Int32, [t]);
        Wide(dLoss, 1);
        Rows(dY, t, d);
        Rows(dX, t, d);
        Wide(dCodebook, n, d);
        Distinct(dX, x, codebook, dY);
        QuantizeBackwardCore(x, codebook, codes, dLoss, dY, spec, dX, dCodebook);
    }

    /// <summary>Codes to experts, with the counts that <see cref="Dispatch"/> starts from: ids[t] = map[codes[t]]. Exact.</summary>
    /// <param name="codes">Int32 [T], each in 0..N-1 (a backend on the host checks; others clamp).</param>
    /// <param name="map">Int32 [N], N &gt;= 1: expert of each code; one outside 0..E-1 is counted nowhere and gets no row.</param>
    /// <param name="ids">Int32 [T, 1].</param>
    /// <param name="counts">Int32 [E]: tokens per expert.</param>
    /// <param name="chunkCounts">Int32 [ceil(T / 256), E]: the same per chunk of <see cref="RoutingPlan.ChunkTokens"/> tokens.</param>
    public void AssignCodes(Tensor codes, Tensor map, Tensor ids, Tensor counts, Tensor chunkCounts)
    {
        int t = Size(codes, 0, 1), e = Size(counts, 0, 1), n = Size(map, 0, 1);
        Guard.That(n >= 1, "A codebook needs at least 1 code.");
        Guard.Is(codes, DType.Int32, [t]);
        Guard.Is(map, DType.Int32, [n]);
        Guard.Is(ids, DType.Int32, [t, 1]);
        Guard.Is(counts, DType.Int32, [e]);
        Guard.Is(chunkCounts, DType.Int32, [RoutingPlan.Chunks(t), e]);
        Distinct(ids, codes, map);
        AssignCodesCore(codes, map, ids, counts, chunkCounts);
    }

    /// <summary>usage[j] = decay usage[j] + (1 - decay) * share of the codes that are j. Without codes nothing changes.</summary>
    /// <param name="codes">Int32 [T]; what is outside 0..N-1 counts for no code.</param>
    /// <param name="decay">In [0, 1).</param>
    /// <param name="usage">Wide [N], updated.</param>
    public void CodeUsage(Tensor codes, double decay, Tensor usage)
    {
        Guard.Is(codes, DType.Int32, [Size(codes, 0, 1)]);
        Wide(usage, Size(usage, 0, 1));
        CheckDecay(decay);
        CodeUsageCore(codes, decay, usage);
    }

    /// <summary>
    /// Moves codes that nothing uses to where the data is: v = (1 - a) v + a anchor, a = exp(-10 N usage / (1 - decay) - reserve)
    /// (online clustered codebooks, CVQ, arXiv 2307.15139).
    /// </summary>
    /// <remarks>A code that has had a fair share of the use, 1/N, for as long as the average reaches has a = 0 and keeps its bits. No use and no reserve give a = 1: the code becomes its anchor exactly.</remarks>
    /// <param name="anchors">[N, d]: one sample per code.</param>
    /// <param name="usage">Wide [N] from <see cref="CodeUsage"/>.</param>
    /// <param name="decay">Of the usage, in [0, 1).</param>
    /// <param name="reserve">&gt;= 0; 0.001 in CVQ.</param>
    /// <param name="master">Wide [N, d], updated.</param>
    /// <param name="codebook">[N, d]: the master, rounded; the same tensor where the float type is wide.</param>
    public void ReviveCodes(Tensor anchors, Tensor usage, double decay, double reserve, Tensor master, Tensor codebook)
    {
        int n = Size(codebook, 0, 2), d = Size(codebook, 1, 2);
        Rows(anchors, n, d);
        Wide(usage, n);
        Wide(master, n, d);
        Rows(codebook, n, d);
        CheckDecay(decay);
        Guard.That(reserve >= 0 && double.IsFinite(reserve), $"The reserve of a code's revival is >= 0 and finite, got {reserve}.");
        Distinct(master, anchors);
        Distinct(codebook, anchors);
        ReviveCodesCore(anchors, usage, decay, reserve, master, codebook);
    }

    private static void CheckDecay(double decay) => Guard.That(decay >= 0 && decay < 1, $"The decay of a code's usage is in [0, 1), got {decay}.");

#pragma warning disable CS1591 // The Core twins mean what their public methods document.
    protected abstract void QuantizeCore(Tensor x, Tensor codebook, QuantizerSpec spec, Tensor codes, Tensor distances, Tensor loss, Tensor y);

    protected abstract void QuantizeBackwardCore(
        Tensor x, Tensor codebook, Tensor codes, Tensor dLoss, Tensor dY, QuantizerSpec spec, Tensor dX, Tensor dCodebook);

    protected abstract void AssignCodesCore(Tensor codes, Tensor map, Tensor ids, Tensor counts, Tensor chunkCounts);

    protected abstract void CodeUsageCore(Tensor codes, double decay, Tensor usage);

    protected abstract void ReviveCodesCore(Tensor anchors, Tensor usage, double decay, double reserve, Tensor master, Tensor codebook);
#pragma warning restore CS1591
}
