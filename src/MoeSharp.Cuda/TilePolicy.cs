namespace MoeSharp.Cuda;

/// <summary>The shape of the tiles of a matrix product, chosen from sizes that the host knows; mirrors <c>kernels/common/tiles.cuh</c>.</summary>
/// <remarks>A pure function of static sizes, so a graph that was captured and an eager call use the same kernel.</remarks>
internal readonly record struct TilePolicy(bool Large, bool Vectorized)
{
    private const int Stages = 4;
    private const int RowBytes = 64;

    /// <summary>Rows of a tile.</summary>
    public int Rows => Large ? 128 : 64;

    /// <summary>Columns of a tile.</summary>
    public int Columns => Large ? 128 : 64;

    /// <summary>Threads of a block.</summary>
    public int Threads => Large ? 256 : 128;

    /// <summary>Shared memory of the stages: both operands, 64 bytes of k per row.</summary>
    public int SharedBytes => Stages * (Rows + Columns) * RowBytes;

    /// <summary>Constants of the kernel key.</summary>
    public (string Name, int Value)[] Constants => [("LARGE", Large ? 1 : 0), ("VECTORIZED", Vectorized ? 1 : 0)];

    /// <summary>Every combination a policy can choose.</summary>
    public static IEnumerable<TilePolicy> All => [new(false, false), new(false, true), new(true, true)];

    /// <summary>Large tiles where both sizes fill at least one; small ones elsewhere, and wherever rows cannot be copied in vectors.</summary>
    public static TilePolicy For(long m, long n, bool vectorized) => new(vectorized && m >= 128 && n >= 128, vectorized);

    /// <summary>Tiles along m.</summary>
    public long TilesM(long m) => (m + Rows - 1) / Rows;

    /// <summary>Tiles along n.</summary>
    public long TilesN(long n) => (n + Columns - 1) / Columns;
}
