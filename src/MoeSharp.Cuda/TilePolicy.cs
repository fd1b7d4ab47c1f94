using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <summary>The shape of the tiles of a matrix product, chosen from sizes that the host knows; mirrors <c>kernels/common/tiles.cuh</c>.</summary>
/// <remarks>
/// <para>The problem: a tile of 128 x 128 reads half as much per multiply-add as one of 64 x 64, and the L2 cache is what limits products; but a small
/// product has too few of them to occupy the device, and experts with few rows do not fill them. The host does not know how many rows
/// routing chose, so experts are judged by their share of the capacity T*K; null slots make it less, and a warp without rows skips its work.</para>
/// <para>A pure function of static sizes, so a graph that was captured and an eager call use the same kernel.</para>
/// </remarks>
/// <param name="Large">128 x 128 and not 64 x 64.</param>
/// <param name="Vectorized">Rows can be copied 16 bytes at a time.</param>
/// <param name="Type">Float type of the operands.</param>
internal readonly record struct TilePolicy(bool Large, bool Vectorized, DType Type)
{
    private const int Stages = 4;
    private const int RowBytes = 64;
    private const int LargeSide = 128;

    /// <summary>Rows of a tile.</summary>
    public int Rows => Large ? LargeSide : 64;

    /// <summary>Columns of a tile.</summary>
    public int Columns => Rows;

    /// <summary>Threads of a block.</summary>
    public int Threads => Large && Type == DType.Float32 ? 256 : 128;

    /// <summary>Shared memory of the stages: both operands, 64 bytes of k per row.</summary>
    public int SharedBytes => Stages * (Rows + Columns) * RowBytes;

    /// <summary>Constants of the kernel key, without the float type.</summary>
    public (string Name, int Value)[] Constants => [("LARGE", Large ? 1 : 0), ("VECTORIZED", Vectorized ? 1 : 0)];

    /// <summary>Blocks that a multiprocessor's registers hold. A launch has no more: the rest would wait, and then compute far from the tiles they share operands with.</summary>
    public int Resident => (Large, Type) switch
    {
        (true, DType.Float32) => 1,
        (true, _) => 2,
        (false, DType.Float32) => 3,
        _ => 4,
    };

    /// <summary>Every combination a policy can choose for a float type.</summary>
    public static IEnumerable<TilePolicy> All(DType type) => [new(false, false, type), new(false, true, type), new(true, true, type)];

    /// <summary>Large tiles where rows come in vectors, both sizes fill at least one, and there is one for every multiprocessor.</summary>
    /// <param name="m">Rows of C, of one product.</param>
    /// <param name="n">Columns of C.</param>
    /// <param name="vectorized">Whether rows can be copied 16 bytes at a time.</param>
    /// <param name="type">Float type of the operands.</param>
    /// <param name="multiprocessors">Of the device.</param>
    /// <param name="products">How many products of this size there are: experts.</param>
    public static TilePolicy For(long m, long n, bool vectorized, DType type, int multiprocessors, long products = 1)
    {
        var large = new TilePolicy(true, true, type);
        bool fills = m >= LargeSide && n >= LargeSide && products * large.TilesM(m) * large.TilesN(n) >= multiprocessors;
        return vectorized && fills ? large : new(false, vectorized, type);
    }

    /// <summary>Tiles along m.</summary>
    public long TilesM(long m) => (m + Rows - 1) / Rows;

    /// <summary>Tiles along n.</summary>
    public long TilesN(long n) => (n + Columns - 1) / Columns;
}
