using System.Diagnostics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>Runs one or many matrix products as one parallel loop: the dense product and all six expert products.</summary>
/// <remarks>
/// <para>The problem: experts have ragged row counts, from none to thousands; each product alone may be too small for all threads; and
/// a result must not depend on the number of threads, on the rows of other experts or on where a row stands.</para>
/// <para>The difficulty: good blocking wants blocks that fit the caches and enough of them for all threads, which depends on sizes and
/// threads, while the bits must not.</para>
/// <para>The choice: the unit of work is (group, block of row tiles, block of columns). A thread packs the block of B that it needs
/// into its second-level cache, then tile rows of A, gathered from where they lie, and runs the tiles. Nothing is shared, so one
/// loop without inner barriers does it; packing twice what two units share costs a few percent at most. Every element of C is one
/// chain of multiply-adds in ascending k (<see cref="MicroKernel"/>), so any cut into units gives the same bits, and cuts are free
/// to follow the number of threads. The exception is a sum over columns in an epilogue, for which columns are cut at fixed borders.</para>
/// <para>Rows are cut into tiles whose heights differ by at most one, so that no expert ends on a tile of one row. A product of one tile
/// (decoding) streams each weight from memory once and packs none; elsewhere the first tile packs the columns for the others (<see cref="LineKernel"/>).</para>
/// </remarks>
internal sealed unsafe partial class GroupedGemm : IDisposable
{
    /// <summary>Units per thread that make ragged groups end at about the same time: the last one is a sixth of a thread's share.</summary>
    private const int UnitsPerThread = 6;

    /// <summary>Most rows of a unit: from here on, packing B is about a percent of the work.</summary>
    private const int MostRows = 1008;

    /// <summary>Whether bfloat16 is multiplied in pairs, and in tile registers.</summary>
    private readonly bool _pairs;
    private readonly bool _lines;
    private readonly TileKernel? _tiles;

    /// <summary>Below this many multiply-adds waking another thread costs more than it brings.</summary>
    private const long SerialBelow = 100_000;

    private readonly CpuParallel _parallel;
    private readonly GemmWorkspace _workspace;
    private readonly Lock _gate = new();
    private GemmGroup[] _groups = new GemmGroup[16];
    private int _count;
    private int _columns;
    private int _half;
    private int _columnTiles;
    private int _columnBlocks;
    private int _unitTiles;
    private int _units;
    private nint _stride;
    private bool _add;
    private bool _half16;
    private ExpertEpilogue _epilogue;

    /// <summary>Makes the packing buffers for the threads of a pool.</summary>
    /// <param name="parallel">The threads.</param>
    /// <param name="floatType">Float32 or BFloat16: the type of operands; results are of that type or Float32.</param>
    /// <param name="pairs">Multiply bfloat16 in pairs (<see cref="DotKernel"/>) instead of widening it.</param>
    /// <param name="lines">Read weights with <see cref="LineKernel"/>, where it is supported.</param>
    /// <param name="tiles">Multiply pairs with this one.</param>
    public GroupedGemm(CpuParallel parallel, DType floatType, bool pairs, bool lines, TileKernel? tiles)
    {
        _parallel = parallel;
        _pairs = pairs;
        _lines = lines && LineKernel.IsSupported;
        _tiles = tiles;
        _workspace = new GemmWorkspace(parallel.Threads, tiles is null ? MicroKernel.MaxRows : TileKernel.MaxRows, floatType == DType.BFloat16);
    }

    /// <summary>Packing buffers and sums.</summary>
    internal GemmWorkspace Workspace => _workspace;

    /// <summary>Takes the engine for one call; the caller disposes the scope. Calls from several threads queue.</summary>
    /// <remarks>Not from inside a loop of the pool: the holder of the engine may be waiting for that loop to end.</remarks>
    public Lock.Scope Enter() => _gate.EnterScope();

    /// <summary>Describes what the groups of the next call share.</summary>
    /// <param name="groups">Most groups that will be added.</param>
    /// <param name="columns">Columns of C; with an epilogue forward, of one half of it.</param>
    /// <param name="half">0, or the distance between two halves of C (gate and up) that tiles take equally many columns of.</param>
    /// <param name="stride">Distance between rows of C.</param>
    /// <param name="type">Float32 or BFloat16: the type of C. Sums are kept in float32 and rounded once.</param>
    /// <param name="add">Add to C.</param>
    /// <param name="epilogue">What to do with finished rows.</param>
    public void Begin(int groups, int columns, int half, nint stride, DType type, bool add, in ExpertEpilogue epilogue)
    {
        if (_groups.Length < groups)
        {
            _groups = new GemmGroup[groups];
        }

        _count = 0;
        _columns = columns;
        _half = half;
        _stride = stride;
        _add = add;
        _half16 = type == DType.BFloat16;
        _epilogue = epilogue;
    }

    /// <summary>Adds one product; one that has nothing to write is left out.</summary>
    public void Group(in GemmOperand a, in GemmOperand b, void* c, int rows, int depth, int firstRow)
    {
        if (rows > 0 && (depth > 0 || !_add))
        {
            // A line of pairs that runs along k must hold whole pairs.
            bool half = a.Reading != GemmReading.Float32;
            bool pairs = half && _pairs && (depth % 2 == 0 || (a.DepthMajor && b.DepthMajor));
            ref GemmGroup group = ref _groups[_count++];
            group = new GemmGroup
            {
                A = a, B = b, C = c, Rows = rows, Steps = pairs ? (depth + 1) / 2 : depth, Pairs = pairs, Tiles = pairs && _tiles != null, FirstRow = firstRow,
            };
            group.A.Depth = group.B.Depth = depth;
            group.A.Reading = group.B.Reading = pairs ? GemmReading.Pairs : half ? GemmReading.Widened : GemmReading.Float32;
        }
    }

    /// <summary>Computes all groups.</summary>
    public void Run()
    {
        if (_count == 0 || _columns == 0)
        {
            ZeroRowSums();
            return;
        }

        int units = Partition(out long work);
        if (work < SerialBelow)
        {
            for (int i = 0; i < units; i++)
            {
                Unit(i);
            }
        }
        else
        {
            _parallel.For(units, this, static (gemm, unit) => gemm.Unit(unit));
        }
    }

    /// <summary>Frees the packing buffers.</summary>
    public void Dispose() => _workspace.Dispose();

    /// <summary>Columns of a tile; of two halves, those of one.</summary>
    private int TileWidth => _half == 0 ? KernelTable.TileColumns : KernelTable.Lanes;

    private static int Cut(int count, int parts, int part) => (int)((long)count * part / parts);

    // A row weight of an expert without columns has the gradient 0.
    private void ZeroRowSums()
    {
        for (int i = 0; i < _count && _epilogue.Kind == GemmEpilogueKind.SwiGluBackward; i++)
        {
            new Span<float>(_epilogue.DRowWeight + _groups[i].FirstRow, _groups[i].Rows).Clear();
        }
    }

    /// <summary>Chooses block sizes, numbers the units and returns how many there are.</summary>
    private int Partition(out long work)
    {
        int mostColumnTiles = GemmWorkspace.Columns / KernelTable.TileColumns;
        _columnTiles = (_columns + TileWidth - 1) / TileWidth;
        int rowTiles = 1, height = 1;
        work = 0;
        for (int i = 0; i < _count; i++)
        {
            ref GemmGroup group = ref _groups[i];
            int most = group.Tiles ? TileKernel.MaxRows : KernelTable.TileRows;
            height = Math.Max(height, most);
            group.RowTiles = (group.Rows + most - 1) / most;
            rowTiles = Math.Max(rowTiles, group.RowTiles);
            work += (long)group.Rows * group.Steps * _columns * (_half == 0 ? 1 : 2);
        }

        // A sum over columns needs all of them in one unit, cut at borders that nothing but the width decides.
        bool whole = _epilogue.Kind == GemmEpilogueKind.SwiGluBackward;
        int tall = Math.Min(rowTiles, (_half16 ? GemmWorkspace.SumRows : MostRows) / height);
        int wide = Math.Min(_columnTiles, mostColumnTiles);
        int wanted = _parallel.Threads == 1 || work < SerialBelow ? 1 : UnitsPerThread * _parallel.Threads;
        while (CountUnits(tall, whole ? _columnTiles : wide) < wanted)
        {
            // Halve the longer side: the cost of packing goes with 1/rows + 1/columns.
            bool cutRows = tall > 4 && (whole || wide <= 2 || tall * height >= wide * KernelTable.TileColumns);
            if (!cutRows && (whole || wide <= 2))
            {
                break;
            }

            tall = cutRows ? (tall + 1) / 2 : tall;
            wide = cutRows ? wide : (wide + 1) / 2;
        }

        _unitTiles = wide;
        _columnBlocks = whole ? 1 : (_columnTiles + wide - 1) / wide;
        _units = 0;
        for (int i = 0; i < _count; i++)
        {
            ref GemmGroup group = ref _groups[i];
            group.RowBlocks = (group.RowTiles + tall - 1) / tall;
            group.FirstItem = _units;
            _units += group.RowBlocks * _columnBlocks;
        }

        return _units;
    }

    private long CountUnits(int tall, int wide)
    {
        long units = 0;
        for (int i = 0; i < _count; i++)
        {
            units += (_groups[i].RowTiles + tall - 1) / tall;
        }

        return units * ((_columnTiles + wide - 1) / wide);
    }

    private int GroupOf(int unit)
    {
        int index = 0;
        for (int above = _count; above - index > 1;)
        {
            int middle = (index + above) / 2;
            if (_groups[middle].FirstItem <= unit)
            {
                index = middle;
            }
            else
            {
                above = middle;
            }
        }

        return index;
    }

    private void Unit(int unit)
    {
        int thread = CpuParallel.CurrentWorker;
        Debug.Assert(thread < _parallel.Threads, "A product ran on a thread of another pool.");
        try
        {
            Unit(unit, thread);
        }
        finally
        {
            _tiles?.Release(thread);
        }
    }

    private void Unit(int unit, int thread)
    {
        ref GemmGroup group = ref _groups[GroupOf(unit)];
        int local = unit - group.FirstItem;
        int columnBlock = local / group.RowBlocks;
        int rowBlock = local % group.RowBlocks;
        int firstTile = Cut(group.RowTiles, group.RowBlocks, rowBlock);
        int endTile = Cut(group.RowTiles, group.RowBlocks, rowBlock + 1);
        int firstColumn = Cut(_columnTiles, _columnBlocks, columnBlock);
        int endColumn = Cut(_columnTiles, _columnBlocks, columnBlock + 1);
        if (endTile - firstTile == 1 && !group.A.DepthMajor && !group.B.DepthMajor)
        {
            Stream(group, firstTile, firstColumn, endColumn, thread);
            return;
        }

        for (int column = firstColumn; column < endColumn; column += _unitTiles)
        {
            Block(unit, group, firstTile, endTile, column, Math.Min(column + _unitTiles, endColumn), endColumn, thread);
        }
    }

    // The block of B that follows a block on this thread: further in k, further right, or the first one of the unit that it will probably get next.
    private PrefetchRun Next(int unit, in GemmGroup group, int firstColumn, int lastColumn, int endColumn, int start, int depth)
    {
        // A gradient of weights has no weights to read, and a matrix that is in cache needs no help.
        if (group.A.DepthMajor && group.B.DepthMajor)
        {
            return default;
        }

        if (start + depth < group.Steps)
        {
            return Request(group, firstColumn, lastColumn, start + depth, depth);
        }

        if (lastColumn < endColumn)
        {
            return Request(group, lastColumn, Math.Min(lastColumn + _unitTiles, endColumn), 0, depth);
        }

        int following = unit + _parallel.Threads;
        if (following >= _units)
        {
            return default;
        }

        ref GemmGroup other = ref _groups[GroupOf(following)];
        int local = following - other.FirstItem, block = local / other.RowBlocks;
        if (other.B.Data == group.B.Data && local % other.RowBlocks >= _parallel.Threads)
        {
            return default;
        }

        int first = Cut(_columnTiles, _columnBlocks, block);
        return Request(other, first, Math.Min(first + _unitTiles, Cut(_columnTiles, _columnBlocks, block + 1)), 0, depth);
    }

    private PrefetchRun Request(in GemmGroup group, int firstTile, int endTile, int start, int depth)
    {
        if (group.B.Lines != null)
        {
            return default;
        }

        int each = group.Pairs ? 2 : 1;
        nint first = (nint)firstTile * TileWidth, columns = Math.Min((nint)endTile * TileWidth, _columns) - first;
        nint k = (nint)start * each, steps = Math.Min(GemmWorkspace.Depth * each, group.B.Depth - k), stride = group.B.LineBytes, size = group.B.Size;
        var data = (byte*)group.B.Data;
        return group.B.DepthMajor
            ? new PrefetchRun(data + (k * stride) + (first * size), columns * size, stride, steps, _half * size, depth)
            : new PrefetchRun(data + (first * stride) + (k * size), steps * size, stride, columns, _half * stride, depth);
    }

    private void Block(int unit, in GemmGroup group, int firstTile, int endTile, int firstColumn, int endColumn, int unitEnd, int thread)
    {
        int* edges = stackalloc int[GemmWorkspace.RowTiles + 1];
        Target target = TargetOf(
            group, Cut(group.Rows, group.RowTiles, firstTile), Cut(group.Rows, group.RowTiles, endTile), firstColumn, endColumn, thread);
        float* b = _workspace.ColumnBlock(thread);
        int start = 0;
        do
        {
            int depth = Math.Min(GemmWorkspace.Depth, group.Steps - start);
            bool last = start + depth == group.Steps, add = _add || start > 0;
            bool packs = _lines && ReadsLines(group, firstColumn, group.Rows, depth);
            if (!packs)
            {
                PackColumns(group, firstColumn, endColumn, start, depth, b, thread);
            }

            PrefetchRun next = Next(unit, group, firstColumn, endColumn, unitEnd, start, depth);
            for (int tile = firstTile; tile < endTile; tile += GemmWorkspace.RowTiles)
            {
                int tiles = Math.Min(GemmWorkspace.RowTiles, endTile - tile);
                for (int i = 0; i <= tiles; i++)
                {
                    edges[i] = Cut(group.Rows, group.RowTiles, tile + i);
                }

                PackRows(group, edges, tiles, start, depth, thread);
                for (int i = 0; i < tiles; i++)
                {
                    float* a = _workspace.RowBlock(thread) + (i * _workspace.RowStride);
                    if (packs && tile + i == firstTile)
                    {
                        FirstTile(group, target, a, edges[i], edges[i + 1], firstColumn, endColumn, start, depth, add, b, thread);
                    }
                    else
                    {
                        Tiles(group, target, a, edges[i], edges[i + 1], firstColumn, endColumn, depth, add, b, thread, ref next);
                    }

                    if (last)
                    {
                        Finish(group, target, edges[i], edges[i + 1], firstColumn, endColumn, thread);
                    }
                }
            }

            start += depth;
        }
        while (start < group.Steps);
    }
}
