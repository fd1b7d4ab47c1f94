using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Grouped expert GEMMs.</content>
/// <remarks>The host knows the capacity T*K but not how many rows are real; grids are bounded by the most tiles that the capacity can make, and blocks without a tile end at once.</remarks>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void ExpertUpCore(Tensor x, Tensor w1, RoutingPlan plan, Tensor z, Tensor a)
    {
        int d = (int)x.Shape[1], n = (int)a.Shape[1];
        if (plan.Capacity == 0 || n == 0)
        {
            return;
        }

        // A tile covers half as many columns of a: gate and up columns lie side by side in it.
        TilePolicy tile = ExpertTile(plan, 2L * n, Vectorizable(d, x, w1) && Vectorizable(n, z, a));
        Launch(
            Key("moe/expert_up.cu", tile.Constants), "expert_up", ExpertShape(tile, plan, tile.TilesN(2L * n)),
            x, w1, plan.Offsets, plan.RowToken, z, a, plan.Experts, d, n);
    }

    /// <inheritdoc/>
    protected override void ExpertDownCore(Tensor a, Tensor w2, RoutingPlan plan, Tensor y)
    {
        int d = (int)y.Shape[1], n = (int)a.Shape[1];
        if (plan.Capacity == 0 || d == 0)
        {
            return;
        }

        TilePolicy tile = ExpertTile(plan, d, Vectorizable(n, a, w2) && Vectorizable(d, y));
        Launch(
            Key("moe/expert_down.cu", tile.Constants), "expert_down", ExpertShape(tile, plan, tile.TilesN(d)),
            a, w2, plan.Offsets, y, plan.Experts, d, n);
    }

    // Rows of an expert on average, as far as the host can know: large tiles only where they are likely to be filled.
    private TilePolicy ExpertTile(RoutingPlan plan, long columns, bool vectorized) =>
        TilePolicy.For(plan.Capacity / plan.Experts, columns, vectorized, FloatType, Info.Multiprocessors, plan.Experts);

    /// <summary>At most floor((capacity + E (rows - 1)) / rows) row tiles exist: every expert may leave one tile unfilled.</summary>
    private LaunchShape ExpertShape(TilePolicy tile, RoutingPlan plan, long columnTiles)
    {
        long rowTiles = (plan.Capacity + ((long)plan.Experts * (tile.Rows - 1))) / tile.Rows;
        return TiledShape(tile, Math.Min(rowTiles, plan.Capacity) * columnTiles, (plan.Experts + 1) * sizeof(int));
    }
}
