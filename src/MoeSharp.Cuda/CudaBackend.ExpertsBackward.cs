using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Grouped expert GEMMs, backward.</content>
public sealed partial class CudaBackend
{
    private const int DotThreads = 256;

    /// <inheritdoc/>
    protected override void ExpertDownBackwardCore(Tensor dOut, Tensor z, Tensor w2, RoutingPlan plan, Tensor dZ, Tensor weightedA, Tensor dRowWeight)
    {
        int d = (int)dOut.Shape[1], n = (int)weightedA.Shape[1];
        if (plan.Capacity == 0)
        {
            return;
        }

        TilePolicy tile = ExpertTile(plan, n, Vectorizable(d, dOut) && Vectorizable(n, w2, z, dZ, weightedA));
        int columnTiles = (int)tile.TilesN(n);
        nint parts = Scratch(CudaWorkspace.ExpertDownBackward(plan.Capacity, n));
        if (columnTiles > 0)
        {
            Launch(
                Key("moe/expert_backward.cu", tile.Constants), "expert_down_backward", ExpertShape(tile, plan, columnTiles),
                dOut, z, w2, plan.Offsets, plan.RowToken, plan.RowWeight, dZ, weightedA, parts, (long)plan.Capacity, plan.Experts, d, n);
        }

        Launch(
            Key("moe/expert_backward.cu", tile.Constants), "expert_weight_dot", new LaunchShape(Blocks((plan.Capacity + DotThreads - 1) / DotThreads), DotThreads),
            parts, plan.Offsets, dRowWeight, (long)plan.Capacity, columnTiles, plan.Experts);
    }

    /// <inheritdoc/>
    protected override void ExpertDownWeightGradCore(Tensor dOut, Tensor weightedA, RoutingPlan plan, Tensor dW2)
    {
        int d = (int)dOut.Shape[1], n = (int)weightedA.Shape[1];
        WeightGrad("expert_down_weight_grad", plan, d, n, Vectorizable(d, dOut) && Vectorizable(n, weightedA), dOut, weightedA, dW2);
    }

    /// <inheritdoc/>
    protected override void ExpertUpBackwardCore(Tensor dZ, Tensor w1, RoutingPlan plan, Tensor dXRows)
    {
        int d = (int)dXRows.Shape[1], n2 = (int)dZ.Shape[1];
        if (plan.Capacity == 0 || d == 0)
        {
            return;
        }

        TilePolicy tile = ExpertTile(plan, d, Vectorizable(n2, dZ) && Vectorizable(d, w1, dXRows));
        Launch(
            Key("moe/expert_backward.cu", tile.Constants), "expert_up_backward", ExpertShape(tile, plan, tile.TilesN(d)),
            dZ, w1, plan.Offsets, dXRows, plan.Experts, d, n2);
    }

    /// <inheritdoc/>
    protected override void ExpertUpWeightGradCore(Tensor dZ, Tensor x, RoutingPlan plan, Tensor dW1)
    {
        int d = (int)x.Shape[1], n2 = (int)dZ.Shape[1];
        WeightGrad("expert_up_weight_grad", plan, n2, d, Vectorizable(n2, dZ) && Vectorizable(d, x), dZ, x, dW1);
    }

    private void WeightGrad(string entry, RoutingPlan plan, int m, int n, bool vectorized, Tensor left, Tensor right, Tensor dW)
    {
        if (plan.Capacity == 0 || m == 0 || n == 0)
        {
            return;
        }

        TilePolicy tile = TilePolicy.For(m, n, vectorized, FloatType, Info.Multiprocessors, plan.Experts);
        Launch(
            Key("moe/expert_weight_grad.cu", tile.Constants), entry, TiledShape(tile, plan.Experts * tile.TilesM(m) * tile.TilesN(n)),
            left, right, plan.Offsets, plan.RowToken, dW, plan.Experts, m, n);
    }
}
