namespace MoeSharp.Cpu;

/// <content>
/// A block, once its place is known: pack, multiply tile by tile, finish rows. Tiles are summed in C itself; where C is bfloat16, in float32
/// beside it, and rounded once when the last step is in.
/// </content>
internal sealed unsafe partial class GroupedGemm
{
    private void PackColumns(in GemmGroup group, int firstColumn, int endColumn, int start, int depth, float* destination, int thread)
    {
        int lanes = KernelTable.Lanes;
        float* first = destination, staging = _workspace.Staging(thread);
        int tile = firstColumn;
        if (group.B.DepthMajor && _half == 0)
        {
            int whole = Math.Min(endColumn, _columns / (2 * lanes)) - tile;
            GemmPacking.ColumnTiles(group.B, tile * 2 * lanes, whole, start, depth, destination, _workspace.ColumnStride, staging);
            destination += whole * _workspace.ColumnStride;
            tile += whole;
        }

        for (; tile < endColumn; tile++)
        {
            (int left, int right) = Columns(tile);
            GemmPacking.ColumnHalf(group.B, left, Math.Min(lanes, _columns - left), start, depth, destination, staging);
            GemmPacking.ColumnHalf(group.B, right, Math.Min(lanes, _columns + _half - right), start, depth, destination + lanes, staging);
            destination += _workspace.ColumnStride;
        }

        if (group.Tiles)
        {
            TilePacking.PadColumns(first, _workspace.ColumnStride, endColumn - firstColumn, depth);
        }
    }

    private void PackRow(in GemmGroup group, int firstRow, int endRow, int following, int start, int depth, float* destination, int thread)
    {
        if (group.Tiles)
        {
            TilePacking.RowTile(group.A, firstRow, endRow - firstRow, start, depth, destination);
        }
        else
        {
            GemmPacking.RowTile(group.A, firstRow, endRow - firstRow, following, start, depth, destination, _workspace.Staging(thread));
        }
    }

    private void PackRows(in GemmGroup group, int* edges, int tiles, int start, int depth, int thread)
    {
        float* destination = _workspace.RowBlock(thread);
        if (group.A.DepthMajor && group.Tiles)
        {
            TilePacking.RowTiles(group.A, edges, tiles, start, depth, destination, _workspace.RowStride, _workspace.Staging(thread));
            return;
        }

        if (group.A.DepthMajor)
        {
            GemmPacking.RowTiles(group.A, edges, tiles, group.Rows, start, depth, destination, _workspace.RowStride, _workspace.Staging(thread));
            return;
        }

        for (int i = 0; i < tiles; i++)
        {
            int following = i + 1 < tiles ? edges[i + 2] - edges[i + 1] : 0;
            PackRow(group, edges[i], edges[i + 1], following, start, depth, destination + (i * _workspace.RowStride), thread);
        }
    }

    /// <summary>Where tiles of a block are summed: in C, or beside it when C is not float32; then what is added to comes along.</summary>
    private Target TargetOf(in GemmGroup group, int firstRow, int endRow, int firstColumn, int endColumn, int thread)
    {
        int lanes = KernelTable.Lanes;
        if (!_half16)
        {
            return new Target { C = (float*)group.C, Stride = _stride, Half = _half == 0 ? lanes : _half, UpOffset = _half };
        }

        int width = (endColumn - firstColumn) * TileWidth;
        nint stride = _half == 0 ? width : 2 * width;
        float* sums = _workspace.Accumulators(thread);
        if (_add)
        {
            int first = firstColumn * TileWidth, count = Math.Min(endColumn * TileWidth, _columns) - first;
            for (int row = firstRow; row < endRow; row++)
            {
                BFloat16Rows.Widen((ushort*)group.C + (row * _stride) + first, sums + ((row - firstRow) * stride), count);
            }
        }

        return new Target
        {
            C = sums - (firstRow * stride) - (firstColumn * TileWidth), Stride = stride, Half = _half == 0 ? lanes : width, UpOffset = _half == 0 ? 0 : width,
        };
    }

    private void Tiles(
        in GemmGroup group, in Target target, float* a, int firstRow, int endRow, int firstColumn, int endColumn, int depth, bool add, float* b, int thread, ref PrefetchRun next)
    {
        int rows = endRow - firstRow;
        float* row = target.C + (firstRow * target.Stride);
        for (int tile = firstColumn; tile < endColumn; tile++)
        {
            int left = tile * TileWidth;
            byte* request = next.Take(b, out nint step);
            if (_half16 || left + TileWidth <= _columns)
            {
                // Sums beside C have room for whole tiles.
                Multiply(group, thread, rows, depth, a, b, row + left, target.Stride, target.Half, TileWidth, add, request, step);
            }
            else
            {
                Edge(group, thread, depth, a, b, row, left, rows, add, request, step);
            }

            b += _workspace.ColumnStride;
        }
    }

    // The last columns go through a full tile beside C.
    private void Edge(
        in GemmGroup group, int thread, int depth, float* a, float* b, float* c, int left, int rows, bool add, byte* request, nint step)
    {
        float* tile = _workspace.EdgeTile(thread);
        int lanes = KernelTable.Lanes;
        int right = _half == 0 ? left + lanes : left;
        int leftCount = Math.Min(lanes, _columns - left);
        int rightCount = Math.Clamp(_columns - right, 0, lanes);
        if (add)
        {
            new Span<float>(tile, rows * 2 * lanes).Clear();
            for (int i = 0; i < rows; i++)
            {
                float* source = c + (i * _stride);
                new Span<float>(source + left, leftCount).CopyTo(new Span<float>(tile + (i * 2 * lanes), lanes));
                new Span<float>(source + right + _half, rightCount).CopyTo(new Span<float>(tile + (((i * 2) + 1) * lanes), lanes));
            }
        }

        Multiply(group, thread, rows, depth, a, b, tile, 2 * lanes, lanes, 0, add, request, step);
        for (int i = 0; i < rows; i++)
        {
            float* target = c + (i * _stride);
            new Span<float>(tile + (i * 2 * lanes), leftCount).CopyTo(new Span<float>(target + left, leftCount));
            new Span<float>(tile + (((i * 2) + 1) * lanes), rightCount).CopyTo(new Span<float>(target + right + _half, rightCount));
        }
    }

    private void Multiply(
        in GemmGroup group, int thread, int rows, nint depth, float* a, float* b, float* c, nint stride, nint half, nint ahead, bool add, byte* next, nint nextStep)
    {
        if (group.Tiles)
        {
            _tiles!.Run(thread, rows, depth, a, b, c, stride, half, ahead, add);
        }
        else if (group.Pairs)
        {
            DotKernel.Run(rows, depth, a, b, c, stride, half, ahead, add, next, nextStep);
        }
        else
        {
            KernelTable.ForRows(rows)(depth, a, b, c, stride, half, ahead, add, next, nextStep);
        }
    }

    private void Finish(in GemmGroup group, in Target target, int firstRow, int endRow, int firstColumn, int endColumn, int thread)
    {
        int first = firstColumn * TileWidth;
        int end = Math.Min(endColumn * TileWidth, _columns);
        for (int row = firstRow; row < endRow; row++)
        {
            nint epilogueRow = (nint)group.FirstRow + row;
            if (!_half16)
            {
                if (_epilogue.Kind == GemmEpilogueKind.None)
                {
                    return;
                }

                _epilogue.Apply(epilogueRow, first, end);
                continue;
            }

            float* sums = target.C + (row * target.Stride) + first;
            if (_epilogue.Kind == GemmEpilogueKind.None)
            {
                BFloat16Rows.Narrow(sums, (ushort*)group.C + (row * _stride) + first, end - first);
            }
            else
            {
                _epilogue.ApplyRounded(epilogueRow, first, end, sums, sums + target.UpOffset, _workspace.EpilogueRows(thread));
            }
        }
    }

    /// <summary>Where the tiles of a block are written; addresses count from row 0 and column 0 of the group.</summary>
    private struct Target
    {
        public float* C;
        public nint Stride;

        /// <summary>Distance between the two vectors of a tile.</summary>
        public nint Half;

        /// <summary>Distance between gate and up.</summary>
        public nint UpOffset;
    }
}
