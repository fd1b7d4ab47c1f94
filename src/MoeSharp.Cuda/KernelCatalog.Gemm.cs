using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Dense and grouped matrix products.</content>
public static partial class KernelCatalog
{
    private static readonly string[] s_tiled =
    [
        "dense/gemm.cu", "moe/expert_up.cu", "moe/expert_down.cu", "moe/expert_backward.cu", "moe/expert_weight_grad.cu",
    ];

    private static IEnumerable<KernelKey> Products() =>
    [
        .. from file in s_tiled
           from policy in TilePolicy.All(DType.Float32)
           from key in BothTypes(file, policy.Constants)
           select key,
        .. BothTypes("moe/moe_simple.cu"),
    ];
}
