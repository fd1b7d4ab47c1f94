using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <summary>Tile sizes of an attention kernel: the constants of its key, and what its launch follows from.</summary>
/// <remarks>
/// A block's results live in registers and its tiles in shared memory; what fits depends on the width of a head and the float type. Every row
/// below fits the 99 KiB of shared memory of the smallest devices and 255 registers without spills.
/// </remarks>
/// <param name="Head">Width of a head in tiles: the smallest of 16, 32, 64, 128, 256 that holds it.</param>
/// <param name="Own">Rows of the tile that a block keeps.</param>
/// <param name="Stream">Rows of the tiles that it walks over.</param>
/// <param name="Stages">Tiles on their way or in use at once.</param>
/// <param name="Groups">Groups of columns into which the results of a row are divided between warps.</param>
internal readonly record struct AttentionTiles(int Head, int Own, int Stream, int Stages = 2, int Groups = 1)
{
    /// <summary>ATTENTION_THREADS of dense/attention_tiles.cuh.</summary>
    public const int Threads = 128;

    /// <summary>Widest head.</summary>
    public const int MaxWidth = 256;

    private static readonly AttentionTiles[] s_forwardFloat = [new(16, 64, 32), new(32, 64, 32), new(64, 64, 32), new(128, 64, 32, Stages: 1), new(256, 64, 16, Stages: 1)];
    private static readonly AttentionTiles[] s_forwardHalf = [new(16, 128, 64), new(32, 128, 64), new(64, 128, 64), new(128, 128, 32), new(256, 64, 32)];
    private static readonly AttentionTiles[] s_backwardFloat = [new(16, 64, 32), new(32, 64, 32), new(64, 64, 32), new(128, 64, 16, Stages: 1), new(256, 32, 16, Stages: 1, Groups: 2)];
    private static readonly AttentionTiles[] s_backwardHalf = [new(16, 128, 32), new(32, 128, 32), new(64, 64, 64), new(128, 64, 32), new(256, 32, 16, Groups: 2)];

    /// <summary>Tiles of the forward kernel.</summary>
    public static AttentionTiles Forward(DType type, int width) => Find(Forward(type), width);

    /// <summary>Tiles of the backward kernels.</summary>
    public static AttentionTiles Backward(DType type, int width) => Find(Backward(type), width);

    /// <summary>Tiles of the forward kernel for every width.</summary>
    public static IReadOnlyList<AttentionTiles> Forward(DType type) => type == DType.BFloat16 ? s_forwardHalf : s_forwardFloat;

    /// <summary>Tiles of the backward kernels for every width.</summary>
    public static IReadOnlyList<AttentionTiles> Backward(DType type) => type == DType.BFloat16 ? s_backwardHalf : s_backwardFloat;

    /// <summary>Constants of the key, beside the float type.</summary>
    public (string Name, int Value)[] Constants => [("HEAD", Head), ("OWN", Own), ("STREAM", Stream), ("STAGES", Stages), ("GROUPS", Groups)];

    /// <summary>Shared memory for tiles: as many that are kept, and two that are walked over per stage.</summary>
    public int SharedBytes(DType type, int kept) => ((kept * Own) + (2 * Stages * Stream)) * ((Head * type.Size()) + 16);

    /// <summary>Shared memory for two statistics per row that is walked over.</summary>
    public int StatisticsBytes => 2 * Stages * Stream * sizeof(float);

    private static AttentionTiles Find(IReadOnlyList<AttentionTiles> all, int width)
    {
        foreach (AttentionTiles tiles in all)
        {
            if (width <= tiles.Head)
            {
                return tiles;
            }
        }

        throw new ArgumentException($"The attention kernels take heads up to {MaxWidth} wide, got {width}. Use more, narrower heads, or another backend.");
    }
}
