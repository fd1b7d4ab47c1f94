namespace MoeSharp.Cpu;

/// <summary>Packed copies of keys and values: transposed tiles for score products, padded rows for odd head widths.</summary>
internal static unsafe class AttentionPacking
{
    private const int KeyTile = AttentionShape.KeyTile;

    /// <summary>Floats of all transposed tiles of a key or value tensor.</summary>
    public static long TransposedLength(AttentionShape shape) =>
        (long)shape.Spec.Batch * shape.Spec.KeyValueHeads * shape.KeyTiles * shape.Spec.HeadDim * KeyTile;

    /// <summary>The transposed tile of a key head: [HeadDim][KeyTile].</summary>
    public static float* TransposedTile(AttentionShape shape, float* packed, int batch, int head, int tile) =>
        packed + ((((((nint)batch * shape.Spec.KeyValueHeads) + head) * shape.KeyTiles) + tile) * shape.Spec.HeadDim * KeyTile);

    /// <summary>Writes every transposed tile; columns up to the next column block are zero.</summary>
    public static void Transpose(CpuParallel parallel, AttentionShape shape, HeadRows rows, float* packed)
    {
        int tiles = shape.Spec.Batch * shape.Spec.KeyValueHeads * shape.KeyTiles;
        parallel.For(tiles, new PackingWork { Shape = shape, Rows = rows, Packed = packed }, static (w, index) =>
        {
            int tile = index % w.Shape.KeyTiles, head = index / w.Shape.KeyTiles;
            int batch = head / w.Shape.Spec.KeyValueHeads;
            float* source = w.Rows.At(batch, head % w.Shape.Spec.KeyValueHeads, tile * KeyTile);
            nint size = (nint)w.Shape.Spec.HeadDim * KeyTile;
            TransposeTile(source, w.Rows.RowStride, w.Shape.KeysIn(tile), w.Shape.Spec.HeadDim, w.Packed + (index * size));
        });
    }

    /// <summary>Rows that <see cref="TileGemm"/> can read in whole column blocks: the tensor itself, or a padded copy in scratch.</summary>
    public static HeadRows Padded(CpuParallel parallel, OpScratch scratch, int slot, AttentionShape shape, HeadRows rows, int heads, int length)
    {
        int width = shape.PaddedWidth;
        if (width == shape.Spec.HeadDim)
        {
            return rows;
        }

        float* packed = scratch.Shared(slot, (long)shape.Spec.Batch * heads * length * width);
        var work = new PackingWork { Shape = shape, Rows = rows, Packed = packed, Heads = heads, Length = length };
        parallel.For(shape.Spec.Batch * heads, work, static (w, index) =>
        {
            int width = w.Shape.PaddedWidth, headDim = w.Shape.Spec.HeadDim;
            for (int row = 0; row < w.Length; row++)
            {
                float* destination = w.Packed + ((((nint)index * w.Length) + row) * width);
                new Span<float>(w.Rows.At(index / w.Heads, index % w.Heads, row), headDim).CopyTo(new Span<float>(destination, headDim));
                new Span<float>(destination + headDim, width - headDim).Clear();
            }
        });
        return new HeadRows(packed, (nint)heads * length * width, (nint)length * width, width);
    }

    private static void TransposeTile(float* source, nint stride, int keys, int width, float* destination)
    {
        int side = GemmTranspose.Side, columns = 0;
        float** lines = stackalloc float*[TileGemm.ColumnBlock];
        if (side > 0)
        {
            for (; columns <= width - side; columns += side)
            {
                for (int first = 0; first < keys; first += side)
                {
                    int rows = Math.Min(side, keys - first);
                    for (int i = 0; i < rows; i++)
                    {
                        lines[i] = source + ((first + i) * stride);
                    }

                    GemmTranspose.Prefetch(lines, rows, columns + GemmTranspose.PrefetchDistance);
                    GemmTranspose.Square(lines, rows, columns, destination + ((nint)columns * KeyTile) + first, KeyTile);
                }
            }
        }

        // What whole squares left: the last columns, then the padding behind the last key.
        for (int k = columns; k < width; k++)
        {
            for (int i = 0; i < keys; i++)
            {
                destination[(k * KeyTile) + i] = source[(i * stride) + k];
            }
        }

        int padding = AttentionShape.RoundUp(keys, TileGemm.ColumnBlock) - keys;
        for (int k = 0; k < width && padding > 0; k++)
        {
            new Span<float>(destination + (k * KeyTile) + keys, padding).Clear();
        }
    }

    private struct PackingWork
    {
        public AttentionShape Shape;
        public HeadRows Rows;
        public float* Packed;
        public int Heads;
        public int Length;
    }
}
