using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>GEMM.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void GemmCore(Tensor a, Tensor b, bool transposeA, bool transposeB, bool accumulate, Tensor c, int m, int n, int k)
    {
        if (m == 0 || n == 0)
        {
            return;
        }

        bool vectorized = Vectorizable(transposeA ? m : k, a) && Vectorizable(transposeB ? k : n, b) && Vectorizable(n, c);
        TilePolicy tile = TilePolicy.For(m, n, vectorized, FloatType, Info.Multiprocessors);
        string entry = (transposeA, transposeB) switch
        {
            (false, false) => "gemm_nn",
            (false, true) => "gemm_nt",
            (true, false) => "gemm_tn",
            _ => "gemm_tt",
        };
        Launch(
            Key("dense/gemm.cu", tile.Constants),
            entry,
            TiledShape(tile, tile.TilesM(m) * tile.TilesN(n)),
            a, b, c, m, n, k, c.DType == WideType && WideType != FloatType ? 1 : 0, accumulate ? 1 : 0);
    }

    /// <summary>A launch that strides over tiles: no more blocks than run at the same time.</summary>
    private LaunchShape TiledShape(TilePolicy tile, long tiles, int moreShared = 0) =>
        new(Blocks(Math.Min(tiles, (long)Info.Multiprocessors * tile.Resident)), tile.Threads, tile.SharedBytes + moreShared);
}
