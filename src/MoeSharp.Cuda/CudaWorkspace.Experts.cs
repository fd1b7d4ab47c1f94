using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Grouped expert GEMMs.</content>
public static partial class CudaWorkspace
{
    /// <summary>Bytes for <c>ExpertDownBackward</c>: one partial dot product per row and column tile.</summary>
    /// <param name="capacity">T*K.</param>
    /// <param name="width">Expert width n.</param>
    public static long ExpertDownBackward(long capacity, long width) => checked(capacity * new TilePolicy(false, false, DType.Float32).TilesN(width) * sizeof(float));
}
