using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Attention.</content>
public static partial class KernelCatalog
{
    private static IEnumerable<KernelKey> Attention() => [.. Attention(DType.Float32), .. Attention(DType.BFloat16)];

    private static IEnumerable<KernelKey> Attention(DType type)
    {
        (string, int) floatConstant = (FloatConstant, type == DType.BFloat16 ? 1 : 0);
        foreach (AttentionTiles tiles in AttentionTiles.Forward(type))
        {
            yield return KernelKey.Of("dense/attention.cu", [.. tiles.Constants, floatConstant]);
        }

        foreach (AttentionTiles tiles in AttentionTiles.Backward(type))
        {
            yield return KernelKey.Of("dense/attention_backward.cu", [.. tiles.Constants, floatConstant]);
        }
    }
}
