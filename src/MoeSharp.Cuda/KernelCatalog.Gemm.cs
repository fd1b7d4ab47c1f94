namespace MoeSharp.Cuda;

/// <content>Dense and grouped matrix products.</content>
public static partial class KernelCatalog
{
    private static readonly string[] s_tiled = ["dense/gemm.cu"];

    private static IEnumerable<KernelKey> Products() =>
        from file in s_tiled
        from policy in TilePolicy.All
        from key in BothTypes(file, policy.Constants)
        select key;
}
