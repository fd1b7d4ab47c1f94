namespace MoeSharp.Core;

/// <content>Attention with grouped key/value heads.</content>
public abstract partial class Backend
{
    /// <summary>o = softmax(scale q k^T, causal) v per head, in tiles: no [T, T] buffer.</summary>
    /// <param name="q">[B * QueryLength, H * HeadDim].</param>
    /// <param name="k">[B * KeyStride, Hkv * HeadDim].</param>
    /// <param name="v">[B * KeyStride, Hkv * HeadDim].</param>
    /// <param name="spec">Lengths, heads, scale.</param>
    /// <param name="o">[B * QueryLength, H * HeadDim].</param>
    /// <param name="logSumExp">Wide [B * QueryLength, H], of the scaled scores, kept for backward.</param>
    public void Attention(Tensor q, Tensor k, Tensor v, AttentionSpec spec, Tensor o, Tensor logSumExp)
    {
        CheckAttention(q, k, v, spec);
        Rows(o, q.Shape[0], q.Shape[1]);
        Wide(logSumExp, q.Shape[0], spec.Heads);
        Distinct(o, q, k, v);
        AttentionCore(q, k, v, spec, o, logSumExp);
    }

    /// <summary>Gradient of <see cref="Attention"/>; probabilities are recomputed from logSumExp.</summary>
    /// <param name="q">As forward.</param>
    /// <param name="k">As forward.</param>
    /// <param name="v">As forward.</param>
    /// <param name="o">Forward output.</param>
    /// <param name="logSumExp">From forward.</param>
    /// <param name="dO">Gradient of o.</param>
    /// <param name="spec">As forward; KeyStride must equal KeyLength.</param>
    /// <param name="dQ">Shape of q.</param>
    /// <param name="dK">Shape of k.</param>
    /// <param name="dV">Shape of v.</param>
    public void AttentionBackward(
        Tensor q, Tensor k, Tensor v, Tensor o, Tensor logSumExp, Tensor dO, AttentionSpec spec, Tensor dQ, Tensor dK, Tensor dV)
    {
        CheckAttention(q, k, v, spec);
        Guard.That(spec.KeyStride == spec.KeyLength, "Attention backward takes tightly packed keys, not a cache.");
        Rows(o, q.Shape[0], q.Shape[1]);
        Wide(logSumExp, q.Shape[0], spec.Heads);
        Rows(dO, q.Shape[0], q.Shape[1]);
        Rows(dQ, q.Shape[0], q.Shape[1]);
        Rows(dK, k.Shape[0], k.Shape[1]);
        Rows(dV, k.Shape[0], k.Shape[1]);
        AttentionBackwardCore(q, k, v, o, logSumExp, dO, spec, dQ, dK, dV);
    }

#pragma warning disable CS1591 // The Core twins mean what their public methods document.
    protected abstract void AttentionCore(Tensor q, Tensor k, Tensor v, AttentionSpec spec, Tensor o, Tensor logSumExp);

    protected abstract void AttentionBackwardCore(
        Tensor q, Tensor k, Tensor v, Tensor o, Tensor logSumExp, Tensor dO, AttentionSpec spec, Tensor dQ, Tensor dK, Tensor dV);
#pragma warning restore CS1591

    private void CheckAttention(Tensor q, Tensor k, Tensor v, AttentionSpec spec)
    {
        Guard.That(
            spec is { Batch: >= 0, QueryLength: >= 0, HeadDim: >= 1, Heads: >= 1, KeyValueHeads: >= 1 } && spec.Heads % spec.KeyValueHeads == 0,
            $"Attention needs key/value heads that divide the heads, got {spec}.");
        Guard.That(
            spec.KeyLength >= spec.QueryLength && spec.KeyStride >= spec.KeyLength,
            $"Attention needs QueryLength <= KeyLength <= KeyStride, got {spec}.");
        Rows(q, (long)spec.Batch * spec.QueryLength, (long)spec.Heads * spec.HeadDim);
        Rows(k, (long)spec.Batch * spec.KeyStride, (long)spec.KeyValueHeads * spec.HeadDim);
        Rows(v, (long)spec.Batch * spec.KeyStride, (long)spec.KeyValueHeads * spec.HeadDim);
    }
}
