namespace MoeSharp.Cuda;

/// <content>Dense and optimizer ops.</content>
public static partial class KernelCatalog
{
    private static IEnumerable<KernelKey> Dense() =>
    [
        .. BothTypes("dense/bias.cu"), .. BothTypes("dense/cross_entropy.cu"), .. BothTypes("dense/elementwise.cu"), .. BothTypes("dense/embedding.cu"),
        .. BothTypes("dense/rms_norm.cu"), .. BothTypes("dense/rope.cu"), .. BothTypes("dense/swiglu.cu"),
        .. BothTypes("optimizer/adamw.cu"), .. BothTypes("optimizer/grad_norm.cu"),
    ];
}
