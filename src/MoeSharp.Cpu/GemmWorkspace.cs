namespace MoeSharp.Cpu;

/// <summary>Packing buffers, one set per thread, made once so that products allocate nothing.</summary>
internal sealed unsafe class GemmWorkspace : IDisposable
{
    /// <summary>
    /// Steps in k per packed block: 14 rows of A take 14 KiB, a tile of B 32 KiB. Of (256, 512), (384, 512), (512, 256) and (256, 256)
    /// steps and columns this was the fastest or level on an AMD EPYC with AVX-512 and 1 MiB of second-level cache: sizes 1024 and 2048
    /// of MoeSharp.Bench GemmBench, relative to its multiply-add loop, and expert products of 2048 tokens.
    /// </summary>
    public const int Depth = 256;

    /// <summary>Columns of a packed block of B: 512 KiB, half of a 1 MiB second-level cache.</summary>
    public const int Columns = 512;

    /// <summary>Tiles of A packed at a time: eight use whole cache lines of a transposed A.</summary>
    public const int RowTiles = 8;

    /// <summary>Most rows of a block whose sums are kept beside the result.</summary>
    public const int SumRows = 256;

    private const int AccumulatorFloats = SumRows * Columns;
    private const int EpilogueFloats = 6 * Columns;
    private readonly int _tileRows;
    private readonly int _stagingFloats;
    private readonly byte* _memory;
    private readonly long _perThread;
    private readonly long _byteCount;

    /// <summary>Allocates for a number of threads and a largest tile height, with room for sums where the result is not float32.</summary>
    public GemmWorkspace(int threads, int tileRows, bool accumulates)
    {
        _tileRows = tileRows;
        _stagingFloats = 32 * (Math.Max(Depth, RowTiles * tileRows) + 16);
        ColumnStride = (Depth * KernelTable.TileColumns) + GemmPacking.Slack;
        RowStride = (Depth * tileRows) + GemmPacking.Slack;
        long floats = (ColumnStride * (Columns / KernelTable.TileColumns)) + (RowStride * RowTiles)
            + (tileRows * KernelTable.TileColumns);
        floats += _stagingFloats + (accumulates ? AccumulatorFloats + EpilogueFloats : 0);
        _perThread = ((floats * sizeof(float)) + HugePages.Size - 1) & ~(HugePages.Size - 1);
        _byteCount = _perThread * threads;
        _memory = (byte*)CpuAllocator.AllocateBytes(_byteCount);
    }

    /// <summary>Distance between packed tiles of B: odd in cache lines, so that copies to several tiles hit different cache sets.</summary>
    public nint ColumnStride { get; }

    /// <summary>Distance between packed tiles of A.</summary>
    public nint RowStride { get; }

    /// <summary>A thread's block of B.</summary>
    public float* ColumnBlock(int thread) => (float*)(_memory + (thread * _perThread));

    /// <summary>A thread's tiles of A.</summary>
    public float* RowBlock(int thread) => ColumnBlock(thread) + (ColumnStride * (Columns / KernelTable.TileColumns));

    /// <summary>A thread's tile of C, for edges.</summary>
    public float* EdgeTile(int thread) => RowBlock(thread) + (RowStride * RowTiles);

    /// <summary>
    /// A thread's room for lines that are converted before they are packed: 32 of <see cref="Depth"/> steps or of <see cref="RowTiles"/> tiles, or one of <see cref="Columns"/> columns.
    /// </summary>
    public float* Staging(int thread) => EdgeTile(thread) + (_tileRows * KernelTable.TileColumns);

    /// <summary>A thread's sums, where C is bfloat16.</summary>
    public float* Accumulators(int thread) => Staging(thread) + _stagingFloats;

    /// <summary>A thread's rows for an epilogue on bfloat16, six of <see cref="Columns"/>.</summary>
    public float* EpilogueRows(int thread) => Accumulators(thread) + AccumulatorFloats;

    /// <summary>Fills all of it with NaN: a product that reads what it has not written shows it.</summary>
    internal void Poison() => new Span<byte>(_memory, checked((int)_byteCount)).Fill(0xFF);

    /// <summary>Frees the buffers.</summary>
    public void Dispose() => CpuAllocator.FreeBytes((nint)_memory, _byteCount);
}
