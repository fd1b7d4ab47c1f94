namespace MoeSharp.Cuda;

/// <content>Routing.</content>
public static partial class KernelCatalog
{
    private static IEnumerable<KernelKey> Routing() =>
    [
        .. BothTypes("moe/gate.cu"), .. BothTypes("moe/gate_backward.cu"), .. BothTypes("moe/balance_loss.cu"), .. BothTypes("moe/capacity.cu"),
        .. BothTypes("moe/dispatch.cu"), .. BothTypes("moe/combine.cu"),
        .. BothTypes("moe/combine_backward.cu"), .. BothTypes("moe/constant_experts.cu"), .. BothTypes("moe/quantize.cu"), .. BothTypes("moe/noisy.cu"),
    ];
}
