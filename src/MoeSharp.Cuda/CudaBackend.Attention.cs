using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>
/// Attention. Kernels: dense/attention.cu, attention_backward.cu. The query heads of a key head are rows of the same tiles, so keys are read once
/// for all of them. Heads are at most <see cref="AttentionTiles.MaxWidth"/> wide.
/// </content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void AttentionCore(Tensor q, Tensor k, Tensor v, AttentionSpec spec, Tensor o, Tensor logSumExp)
    {
        var tiles = AttentionTiles.Forward(FloatType, spec.HeadDim);
        long lines = CudaWorkspace.AttentionLines(spec);
        if (lines == 0)
        {
            return;
        }

        (int group, int rows) = QueryRows(spec, tiles);
        (int splits, int splitKeys) = CudaWorkspace.AttentionSplits(spec);
        nint partials = splits > 1 ? Scratch(CudaWorkspace.Attention(spec)) : 0;
        long items = CudaWorkspace.Chunks(rows, tiles.Own) * spec.Batch * spec.KeyValueHeads * splits;
        KernelKey kernel = Key("dense/attention.cu", tiles.Constants);
        Launch(
            kernel, "attention", new LaunchShape(Blocks(items), AttentionTiles.Threads, tiles.SharedBytes(FloatType, kept: 1)),
            q, k, v, o, logSumExp, partials, spec.Batch, spec.QueryLength, spec.KeyLength, spec.KeyStride, group, spec.KeyValueHeads, spec.HeadDim,
            ScoreScale(spec), spec.Causal ? 1 : 0, splits, splitKeys, Vectorizable(spec.HeadDim, q, k, v, o) ? 1 : 0);
        if (splits > 1)
        {
            Launch(kernel, "attention_join", LinesShape(lines), partials, o, logSumExp, lines, spec.HeadDim, splits);
        }
    }

    /// <inheritdoc/>
    protected override void AttentionBackwardCore(
        Tensor q, Tensor k, Tensor v, Tensor o, Tensor logSumExp, Tensor dO, AttentionSpec spec, Tensor dQ, Tensor dK, Tensor dV)
    {
        var tiles = AttentionTiles.Backward(FloatType, spec.HeadDim);
        if (spec.Batch == 0 || spec.KeyLength == 0)
        {
            return;
        }

        (int group, int rows) = QueryRows(spec, tiles);
        long lines = CudaWorkspace.AttentionLines(spec), heads = (long)spec.Batch * spec.KeyValueHeads;
        nint delta = Scratch(CudaWorkspace.AttentionBackward(spec));
        KernelKey kernel = Key("dense/attention_backward.cu", tiles.Constants);
        int shared = tiles.SharedBytes(FloatType, kept: 2), vectorized = Vectorizable(spec.HeadDim, q, k, v, o, dO, dQ, dK, dV) ? 1 : 0;
        int causal = spec.Causal ? 1 : 0;
        float scale = (float)spec.Scale;
        if (lines > 0)
        {
            Launch(kernel, "attention_delta", LinesShape(lines), o, dO, delta, lines, spec.HeadDim, vectorized);
        }

        // Without queries the gradients of keys and values are zeros, which this kernel writes.
        Launch(
            kernel, "attention_keys", new LaunchShape(Blocks(CudaWorkspace.Chunks(spec.KeyLength, tiles.Own) * heads), AttentionTiles.Threads, shared + tiles.StatisticsBytes),
            q, k, v, dO, logSumExp, delta, dK, dV, spec.Batch, spec.QueryLength, spec.KeyLength, group, spec.KeyValueHeads, spec.HeadDim, scale,
            ScoreScale(spec), causal, vectorized);
        if (lines > 0)
        {
            Launch(
                kernel, "attention_queries", new LaunchShape(Blocks(CudaWorkspace.Chunks(rows, tiles.Own) * heads), AttentionTiles.Threads, shared),
                q, k, v, dO, logSumExp, delta, dQ, spec.Batch, spec.QueryLength, spec.KeyLength, group, spec.KeyValueHeads, spec.HeadDim, scale,
                ScoreScale(spec), causal, vectorized);
        }
    }

    /// <summary>Scores are in units of log2 e.</summary>
    private static float ScoreScale(AttentionSpec spec) => (float)(spec.Scale * Math.Log2(Math.E));

    /// <summary>A kernel with a warp per query row of a head.</summary>
    private LaunchShape LinesShape(long lines) => new(Blocks(CudaWorkspace.Chunks(lines, AttentionTiles.Threads / 32)), AttentionTiles.Threads);

    /// <summary>Query heads per key head, and rows of a key head: those of all its query heads.</summary>
    private static (int Group, int Rows) QueryRows(AttentionSpec spec, AttentionTiles tiles)
    {
        int group = spec.Heads / spec.KeyValueHeads;
        long rows = (long)spec.QueryLength * group;

        // Kernels count rows and keys in 32 bits, up to the end of the last tile.
        int most = int.MaxValue - (2 * Math.Max(tiles.Own, tiles.Stream));
        if (rows > most || spec.KeyLength > most)
        {
            throw new ArgumentException($"Attention takes up to {most:N0} keys, and as many queries times query heads per key head, per sequence; got {spec.KeyLength:N0} and {rows:N0}.");
        }

        return (group, (int)rows);
    }
}
