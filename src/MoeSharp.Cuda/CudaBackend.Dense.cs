using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>
/// Embedding, norm, rotary embedding. Kernels: dense/embedding.cu, rms_norm.cu, rope.cu; sums over rows end in bias.cu. A token id
/// outside the table counts as the nearest row, for a kernel cannot throw.
/// </content>
public sealed partial class CudaBackend
{
    private const int RowThreads = 256;
    private const int RowWarps = RowThreads / 32;

    /// <summary>Shared memory of a block reduction: 33 floats, one per warp and the result.</summary>
    private const int ReductionBytes = 33 * sizeof(float);

    /// <summary>Shared memory of a sum down the columns: a unit of up to 8 floats per thread.</summary>
    private const int ColumnBytes = RowThreads * 8 * sizeof(float);

    /// <summary>From this width on a row is normalised by a block, below by a warp.</summary>
    private const int WideRow = 1024;

    /// <inheritdoc/>
    protected override void EmbeddingCore(Tensor table, Tensor ids, Tensor y)
    {
        (int tokens, int vocabulary, int width) = EmbeddingSizes(ids, table);
        if (tokens == 0 || width == 0)
        {
            return;
        }

        Launch(
            Key("dense/embedding.cu"), "embedding", new LaunchShape(RowBlocks(tokens, width), RowThreads),
            table, ids, y, tokens, vocabulary, width, Vectorizable(width, table, y) ? 1 : 0);
    }

    /// <inheritdoc/>
    protected override void EmbeddingBackwardCore(Tensor dY, Tensor ids, Tensor dTable)
    {
        (int tokens, int vocabulary, int width) = EmbeddingSizes(ids, dTable);
        if (tokens == 0 || width == 0)
        {
            return;
        }

        var layout = new CudaWorkspace.EmbeddingBackwardLayout(tokens, width);
        nint scratch = Scratch(layout.Bytes);
        nint order = SortTokens(ids, tokens, vocabulary, scratch, layout);
        nint heads = scratch + (nint)layout.Heads;
        int vectorized = Vectorizable(width, dY, dTable) ? 1 : 0;
        KernelKey kernel = Key("dense/embedding.cu");
        var shape = new LaunchShape(RowBlocks(CudaWorkspace.Chunks(tokens, CudaWorkspace.SortedRun), width), RowThreads);
        Launch(kernel, "embedding_backward", shape, dY, ids, order, dTable, heads, tokens, vocabulary, width, vectorized);
        Launch(kernel, "embedding_backward_finish", shape, ids, order, dTable, heads, tokens, vocabulary, width, vectorized);
    }

    /// <inheritdoc/>
    protected override void RmsNormCore(Tensor x, Tensor weight, double epsilon, Tensor y, Tensor inverseRms)
    {
        int rows = (int)x.Shape[0], width = (int)x.Shape[1];
        if (rows == 0)
        {
            return;
        }

        bool wide = width >= WideRow;
        LaunchShape shape = wide
            ? new LaunchShape(Blocks(rows), RowThreads, ReductionBytes)
            : new LaunchShape(Blocks(CudaWorkspace.Chunks(rows, RowWarps)), RowThreads);
        Launch(
            Key("dense/rms_norm.cu"), wide ? "rms_norm_wide" : "rms_norm_narrow", shape,
            x, weight, y, inverseRms, rows, width, (float)epsilon, Vectorizable(width, x, weight, y) ? 1 : 0);
    }

    /// <inheritdoc/>
    protected override void RmsNormBackwardCore(Tensor x, Tensor weight, Tensor inverseRms, Tensor dY, Tensor dX, Tensor dWeight)
    {
        int rows = (int)x.Shape[0], width = (int)x.Shape[1];
        if (rows == 0 || width == 0)
        {
            return;
        }

        int rowsPerChunk = CudaWorkspace.RowsPerChunk(rows);
        long chunks = CudaWorkspace.Chunks(rows, rowsPerChunk);
        nint partials = Scratch(CudaWorkspace.RmsNormBackward(rows, width));
        Launch(
            Key("dense/rms_norm.cu"), "rms_norm_backward", new LaunchShape(Blocks(chunks), RowThreads, ColumnBytes),
            x, weight, inverseRms, dY, dX, partials, rows, width, rowsPerChunk, Vectorizable(width, x, weight, dY, dX) ? 1 : 0);
        FinishColumns(partials, chunks, width, dWeight);
    }

    /// <inheritdoc/>
    protected override void RopeCore(Tensor x, Tensor positions, RopeSpec rope, bool inverse, Tensor y)
    {
        if (!(rope.Theta > 0) || !double.IsFinite(rope.Theta))
        {
            throw new ArgumentException($"RoPE needs a positive, finite base of its frequencies, got {rope.Theta}.", nameof(rope));
        }

        int tokens = (int)x.Shape[0], heads = (int)x.Shape[1] / rope.HeadDim, half = rope.HeadDim / 2;
        if (tokens == 0 || heads == 0)
        {
            return;
        }

        nint frequencies = Scratch(CudaWorkspace.Rope(rope));
        long octaves = BitConverter.DoubleToInt64Bits(Math.Log2(rope.Theta) * 2 / rope.HeadDim);
        KernelKey kernel = Key("dense/rope.cu");
        Launch(kernel, "rope_frequencies", new LaunchShape(Blocks(CudaWorkspace.Chunks(half, RowThreads)), RowThreads), frequencies, octaves, half);

        // A thread for each pair, or for as many pairs as 16 bytes hold elements, of up to four heads.
        bool vectorized = Vectorizable(half, x, y);
        long items = tokens * CudaWorkspace.Chunks(heads, 4) * (vectorized ? half / VectorLength : half);
        Launch(
            kernel, "rope", new LaunchShape(Blocks(CudaWorkspace.Chunks(items, RowThreads)), RowThreads),
            x, positions, frequencies, y, tokens, heads, half, rope.Interleaved ? 1 : 0, inverse ? 1 : 0, vectorized ? 1 : 0);
    }

    /// <summary>Float elements in 16 bytes.</summary>
    private int VectorLength => 16 / FloatType.Size();

    private static (int Tokens, int Vocabulary, int Width) EmbeddingSizes(Tensor ids, Tensor table)
    {
        if (ids.ElementCount > 0 && table.Shape[0] == 0)
        {
            throw new ArgumentException($"An embedding of {ids.ElementCount} tokens needs a table with rows, got {table}.", nameof(table));
        }

        return ((int)ids.ElementCount, (int)table.Shape[0], (int)table.Shape[1]);
    }

    /// <summary>Blocks for a kernel over the units of a matrix: a warp takes a tile of 128 units of a row, or less of a narrow one.</summary>
    private long RowBlocks(long rows, long width) => Blocks(CudaWorkspace.Chunks(rows * CudaWorkspace.Chunks(width, 128L * VectorLength), RowWarps));

    /// <summary>out += the rows of partials, in order.</summary>
    private void FinishColumns(nint partials, long chunks, int width, Tensor sums) => Launch(
        Key("dense/bias.cu"), "column_finish", new LaunchShape(Blocks(CudaWorkspace.Chunks(width, 32)), 1024, 1024 * sizeof(float)),
        partials, sums, (int)chunks, width);

    /// <summary>Token indices ordered by id, equal ids in ascending order, somewhere in the workspace.</summary>
    private nint SortTokens(Tensor ids, int tokens, int vocabulary, nint scratch, CudaWorkspace.EmbeddingBackwardLayout layout)
    {
        nint from = 0, to = scratch, other = scratch + (nint)layout.Other, counts = scratch + (nint)layout.Counts;
        int chunks = (int)CudaWorkspace.Chunks(tokens, CudaWorkspace.SortChunk);
        KernelKey kernel = Key("dense/embedding.cu");
        var shape = new LaunchShape(Blocks(chunks), RowThreads, RowWarps * 256 * sizeof(int));
        for (int pass = 0; pass < CudaWorkspace.EmbeddingBackwardLayout.Passes(vocabulary); pass++)
        {
            Launch(kernel, "embedding_sort_count", shape, ids, from, counts, tokens, vocabulary, 8 * pass);
            Launch(kernel, "embedding_sort_scan", new LaunchShape(1, 1024, 32 * sizeof(int)), counts, 256 * chunks);
            Launch(kernel, "embedding_sort_scatter", shape, ids, from, counts, to, tokens, vocabulary, 8 * pass);
            (from, to, other) = (to, other, to);
        }

        return from;
    }
}
