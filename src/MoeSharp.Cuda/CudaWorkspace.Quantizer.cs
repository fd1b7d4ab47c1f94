namespace MoeSharp.Cuda;

/// <content>Vector quantisation.</content>
public static partial class CudaWorkspace
{
    /// <summary>Bytes of <c>Quantize</c> with the cosine: an inverse length per token and per code. The Euclidean distance needs none.</summary>
    /// <param name="tokens">Tokens T.</param>
    /// <param name="codes">Codes N.</param>
    public static long Quantize(long tokens, long codes) => sizeof(float) * (tokens + codes);

    /// <summary>Bytes of <c>QuantizeBackward</c>: the tokens sorted by code, and two factors per token.</summary>
    /// <param name="tokens">Tokens T.</param>
    public static long QuantizeBackward(long tokens) => new EmbeddingBackwardLayout(tokens, 0).Bytes + (2 * sizeof(float) * tokens);
}
