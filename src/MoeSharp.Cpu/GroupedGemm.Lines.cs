namespace MoeSharp.Cpu;

/// <content>
/// Weights that are read as they are stored. A single tile of rows streams each weight once, with nothing packed; of several tiles the first one packs
/// the columns for the others on its way. Where that is impossible (ragged edges, other layouts), columns are packed first, with the same bits.
/// </content>
internal sealed unsafe partial class GroupedGemm
{
    // One tile of rows reads each weight once: lines are followed to their end, two vectors of columns at a time.
    private void Stream(in GemmGroup group, int rowTile, int firstColumn, int endColumn, int thread)
    {
        int firstRow = Cut(group.Rows, group.RowTiles, rowTile), endRow = Cut(group.Rows, group.RowTiles, rowTile + 1);
        float* a = _workspace.RowBlock(thread), b = _workspace.ColumnBlock(thread);
        Target target = TargetOf(group, firstRow, endRow, firstColumn, endColumn, thread);

        // One row, packed, is the row itself.
        bool inPlace = endRow - firstRow == 1 && group.A.Reading != GemmReading.Widened && !group.Tiles;
        int start = 0;
        do
        {
            int end = Math.Min(start + (GemmWorkspace.RowTiles * GemmWorkspace.Depth), group.Steps);
            for (int k = start, i = 0; k < end && !inPlace; k += GemmWorkspace.Depth, i++)
            {
                PackRow(group, firstRow, endRow, 0, k, Math.Min(GemmWorkspace.Depth, end - k), a + (i * _workspace.RowStride), thread);
            }

            for (int column = firstColumn; column < endColumn; column++)
            {
                int k = start, i = 0;
                do
                {
                    int depth = Math.Min(GemmWorkspace.Depth, end - k);
                    float* rows = inPlace ? group.A.Steps(firstRow, k, depth, null) : a + (i++ * _workspace.RowStride);
                    bool same = k + depth < end;
                    int following = same ? column : column + 1 < endColumn ? column + 1 : -1;
                    ColumnTile(group, target, rows, firstRow, endRow, column, k, depth, _add || k > 0, b, false, following, same ? k + depth : start, thread);
                    k += depth;
                }
                while (k < end);
            }

            start = end;
        }
        while (start < group.Steps);
        Finish(group, target, firstRow, endRow, firstColumn, endColumn, thread);
    }

    /// <summary>Whether a tile of columns can be multiplied as it is stored; the last tile of a block may be one that cannot.</summary>
    private bool ReadsLines(in GemmGroup group, int tile, int rows, int depth)
    {
        bool machine = _lines && depth % LineKernel.Side == 0;
        bool portable = !_lines && FewRowsKernel.IsSupported && rows <= FewRowsKernel.MaxRows && depth % FewRowsKernel.Side == 0 && !group.Pairs;
        return (machine || portable) && depth > 0 && !group.B.DepthMajor && group.B.Lines == null && !group.Tiles &&
            (tile + 1) * TileWidth <= _columns;
    }

    // Where the two vectors of columns of a tile are.
    private (int Left, int Right) Columns(int tile) => (tile * TileWidth, (tile * TileWidth) + (_half == 0 ? KernelTable.Lanes : _half));

    // Packs a block of columns while the first tile of rows is multiplied by them.
    private void FirstTile(
        in GemmGroup group, in Target target, float* a, int firstRow, int endRow, int firstColumn, int endColumn, int start, int depth, bool add, float* b, int thread)
    {
        for (int tile = firstColumn; tile < endColumn; tile++, b += _workspace.ColumnStride)
        {
            ColumnTile(group, target, a, firstRow, endRow, tile, start, depth, add, b, true, tile + 1 < endColumn ? tile + 1 : -1, start, thread);
        }
    }

    // A tile from the lines of its columns, which are packed into b as well when asked to, and first where they have to be. The tile that comes next is asked for, or none (-1).
    private void ColumnTile(
        in GemmGroup group,
        in Target target,
        float* a,
        int firstRow,
        int endRow,
        int tile,
        int start,
        int depth,
        bool add,
        float* b,
        bool packs,
        int following,
        int followingStart,
        int thread)
    {
        int rows = endRow - firstRow;
        if (!ReadsLines(group, tile, rows, depth))
        {
            PrefetchRun none = default;
            PackColumns(group, tile, tile + 1, start, depth, b, thread);
            Tiles(group, target, a, firstRow, endRow, tile, tile + 1, depth, add, b, thread, ref none);
            return;
        }

        (int left, int right) = Columns(tile);
        (int nextLeft, int nextRight) = Columns(Math.Max(0, following));
        void* next = following < 0 ? null : group.B.Line(nextLeft, followingStart), nextOther = following < 0 ? null : group.B.Line(nextRight, followingStart);
        float* c = target.C + (firstRow * target.Stride) + left;
        bool widened = group.B.Reading == GemmReading.Widened;
        nint stride = group.B.LineBytes;
        float* packed = packs ? b : null;
        if (!_lines || (widened && !packs && rows <= FewRowsKernel.MaxRows))
        {
            FewRows(widened, rows, depth, a, group.B.Line(left, start), stride, c, target.Stride, add, group.B.Line(right, start));
            FewRows(widened, rows, depth, a, group.B.Line(right, start), stride, c + target.Half, target.Stride, add, next);
        }
        else if (widened)
        {
            float* wide = _workspace.Staging(thread), wideRight = wide + (LineKernel.Side * GemmWorkspace.Depth);
            for (int i = 0; i < LineKernel.Side; i++)
            {
                _ = group.B.Steps(left + i, start, depth, wide + (i * GemmWorkspace.Depth));
                _ = group.B.Steps(right + i, start, depth, wideRight + (i * GemmWorkspace.Depth));
            }

            LineKernel.Run(false, rows, depth, a, wide, wideRight, GemmWorkspace.Depth * sizeof(float), c, target.Stride, target.Half, add, packed, null, null);
        }
        else
        {
            LineKernel.Run(
                group.Pairs, rows, depth, a, group.B.Line(left, start), group.B.Line(right, start), stride, c, target.Stride, target.Half, add, packed, next, nextOther);
        }
    }

    // A vector of columns.
    private static void FewRows(bool half, int rows, nint depth, float* a, void* lines, nint stride, float* c, nint rowStride, bool add, void* following)
    {
        for (int i = 0; i < KernelTable.Lanes; i += FewRowsKernel.Side)
        {
            byte* eight = (byte*)lines + (i * stride), next = eight + (FewRowsKernel.Side * stride);
            FewRowsKernel.Run(half, rows, depth, a, eight, stride, c + i, rowStride, add, i + FewRowsKernel.Side < KernelTable.Lanes ? next : following);
        }
    }
}
