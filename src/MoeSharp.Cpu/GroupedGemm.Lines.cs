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
        PrefetchRun none = default;

        // One row, packed, is the row itself.
        bool inPlace = endRow - firstRow == 1 && group.A.Reading != GemmReading.Widened && !group.Tiles;
        int start = 0;
        do
        {
            int end = Math.Min(start + (GemmWorkspace.RowTiles * GemmWorkspace.Depth), group.Steps);
            for (int k = start, i = 0; k < end && !inPlace; k += GemmWorkspace.Depth, i++)
            {
                PackRow(group, firstRow, endRow, k, Math.Min(GemmWorkspace.Depth, end - k), a + (i * _workspace.RowStride), thread);
            }

            for (int column = firstColumn; column < endColumn; column++)
            {
                int k = start, i = 0;
                do
                {
                    int depth = Math.Min(GemmWorkspace.Depth, end - k);
                    float* rows = inPlace ? group.A.Steps(firstRow, k, depth, null) : a + (i++ * _workspace.RowStride);
                    bool add = _add || k > 0;
                    if (ReadsLines(group, column, endRow - firstRow, depth))
                    {
                        void* following = k + depth < end ? Lines(group, column, k + depth) : column + 1 < endColumn ? Lines(group, column + 1, start) : null;
                        TileOfLines(group, target, rows, firstRow, endRow, column, k, depth, add, null, following, thread);
                    }
                    else
                    {
                        PackColumns(group, column, column + 1, k, depth, b, thread);
                        Tiles(group, target, rows, firstRow, endRow, column, column + 1, depth, add, b, thread, ref none);
                    }

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
            (tile + 1) * (_half == 0 ? KernelTable.TileColumns : KernelTable.Lanes) <= _columns;
    }

    private void* Lines(in GemmGroup group, int tile, int start) => group.B.Line(tile * (_half == 0 ? KernelTable.TileColumns : KernelTable.Lanes), start);

    // Packs a block of columns while the first tile of rows is multiplied by them.
    private void FirstTile(
        in GemmGroup group, in Target target, float* a, int firstRow, int endRow, int firstColumn, int endColumn, int start, int depth, bool add, float* b, int thread)
    {
        PrefetchRun none = default;
        for (int tile = firstColumn; tile < endColumn; tile++)
        {
            if (ReadsLines(group, tile, endRow - firstRow, depth))
            {
                TileOfLines(group, target, a, firstRow, endRow, tile, start, depth, add, b, tile + 1 < endColumn ? Lines(group, tile + 1, start) : null, thread);
            }
            else
            {
                PackColumns(group, tile, tile + 1, start, depth, b, thread);
                Tiles(group, target, a, firstRow, endRow, tile, tile + 1, depth, add, b, thread, ref none);
            }

            b += _workspace.ColumnStride;
        }
    }

    // Both vectors of columns of a tile, each from its lines; they are packed as well where there is room to.
    private void TileOfLines(
        in GemmGroup group, in Target target, float* a, int firstRow, int endRow, int tile, int start, int depth, bool add, float* packed, void* following, int thread)
    {
        int lanes = KernelTable.Lanes, left = tile * (_half == 0 ? 2 * lanes : lanes), right = _half == 0 ? left + lanes : left + _half;
        float* c = target.C + (firstRow * target.Stride) + left;
        HalfOfLines(group, left, start, depth, a, endRow - firstRow, c, target.Stride, add, packed, group.B.Line(right, start), thread);
        HalfOfLines(group, right, start, depth, a, endRow - firstRow, c + target.Half, target.Stride, add, packed == null ? null : packed + lanes, following, thread);
    }

    private void HalfOfLines(
        in GemmGroup group, int column, int start, int depth, float* a, int rows, float* c, nint rowStride, bool add, float* packed, void* following, int thread)
    {
        bool widened = group.B.Reading == GemmReading.Widened;
        nint stride = group.B.Stride * (group.B.Reading == GemmReading.Float32 ? sizeof(float) : sizeof(ushort));
        if (!_lines || (widened && packed == null && rows <= FewRowsKernel.MaxRows))
        {
            var lines = (byte*)group.B.Line(column, start);
            for (int i = 0; i < KernelTable.Lanes; i += FewRowsKernel.Side, lines += FewRowsKernel.Side * stride)
            {
                void* next = i + FewRowsKernel.Side < KernelTable.Lanes ? lines + (FewRowsKernel.Side * stride) : following;
                FewRowsKernel.Run(widened, rows, depth, a, lines, stride, c + i, rowStride, add, next);
            }

            return;
        }

        float* first = group.B.Steps(column, start, depth, _workspace.Staging(thread));
        for (int i = 1; widened && i < LineKernel.Side; i++)
        {
            _ = group.B.Steps(column + i, start, depth, first + (i * GemmWorkspace.Depth));
        }

        LineKernel.Run(group.Pairs, rows, depth, a, first, widened ? GemmWorkspace.Depth * sizeof(float) : stride, c, rowStride, add, packed, following);
    }
}
