using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>GEMM.</content>
public sealed partial class CudaBackend
{
    private const int JoinThreads = 256;

    /// <inheritdoc/>
    protected override void GemmCore(Tensor a, Tensor b, bool transposeA, bool transposeB, bool accumulate, Tensor c, int m, int n, int k)
    {
        if (m == 0 || n == 0)
        {
            return;
        }

        var parts = GemmParts.Of(m, n, k);
        int wide = c.DType == WideType && WideType != FloatType ? 1 : 0, add = accumulate ? 1 : 0;
        bool vectorized = Vectorizable(transposeA ? m : k, a) && Vectorizable(transposeB ? k : n, b) && Vectorizable(n, c);
        TilePolicy tile = TilePolicy.For(m, n, vectorized, FloatType, Info.Multiprocessors, parts.Count);
        KernelKey key = Key("dense/gemm.cu", tile.Constants);
        LaunchShape shape = TiledShape(tile, parts.Count * tile.TilesM(m) * tile.TilesN(n));
        string entry = (transposeA, transposeB) switch
        {
            (false, false) => "gemm_nn",
            (false, true) => "gemm_nt",
            (true, false) => "gemm_tn",
            _ => "gemm_tt",
        };
        if (parts.Count == 1)
        {
            Launch(key, entry, shape, a, b, c, m, n, k, k, wide, add);
            return;
        }

        long count = (long)m * n;
        nint sums = Scratch(CudaWorkspace.Gemm(m, n, k));
        Launch(key, entry, shape, a, b, sums, m, n, k, parts.Depth, 1, 0);
        Launch(key, "gemm_join", new LaunchShape(Blocks((count + JoinThreads - 1) / JoinThreads), JoinThreads), sums, c, count, parts.Count, wide, add);
    }

    /// <summary>A launch that strides over tiles: no more blocks than run at the same time.</summary>
    private LaunchShape TiledShape(TilePolicy tile, long tiles, int moreShared = 0) =>
        new(Blocks(Math.Min(tiles, (long)Info.Multiprocessors * tile.Resident)), tile.Threads, tile.SharedBytes + moreShared);
}
