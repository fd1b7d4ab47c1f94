using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Attention.</content>
public static partial class CudaWorkspace
{
    /// <summary>Keys that make a split of its own worthwhile.</summary>
    private const int LeastSplitKeys = 256;

    /// <summary>Blocks that splitting aims at: about what the larger devices run at once.</summary>
    private const int SplitBlocks = 256;

    /// <summary>A split is a multiple of every <see cref="AttentionTiles.Stream"/>.</summary>
    private const int SplitGranule = 64;

    /// <summary>Query rows of a tile, for counting blocks; the same for every kernel, so that all float types and devices split alike.</summary>
    private const int SplitRows = 64;

    /// <summary>Bytes of <see cref="Backend.Attention"/>: results per split of the keys, where few queries meet many keys (decoding); else 0.</summary>
    public static long Attention(AttentionSpec spec)
    {
        ArgumentNullException.ThrowIfNull(spec);
        int splits = AttentionSplits(spec).Count;
        return splits == 1 ? 0 : sizeof(float) * splits * AttentionLines(spec) * (spec.HeadDim + 2L);
    }

    /// <summary>Bytes of <see cref="Backend.AttentionBackward"/>: a number per query row of each head.</summary>
    public static long AttentionBackward(AttentionSpec spec)
    {
        ArgumentNullException.ThrowIfNull(spec);
        return sizeof(float) * AttentionLines(spec);
    }

    /// <summary>Query rows of all heads and sequences.</summary>
    internal static long AttentionLines(AttentionSpec spec) => (long)spec.Batch * spec.QueryLength * spec.Heads;

    /// <summary>Into how many splits the keys are divided, and the keys of each. Follows from the sizes alone, so results do not depend on the device.</summary>
    internal static (int Count, int Keys) AttentionSplits(AttentionSpec spec)
    {
        long rows = (long)spec.QueryLength * (spec.Heads / spec.KeyValueHeads);
        long blocks = Math.Max(1, Chunks(rows, SplitRows) * spec.Batch * spec.KeyValueHeads);
        long wanted = Math.Clamp(spec.KeyLength / LeastSplitKeys, 1, Math.Max(1, SplitBlocks / blocks));
        if (wanted == 1)
        {
            return (1, spec.KeyLength);
        }

        long keys = Chunks(Chunks(spec.KeyLength, wanted), SplitGranule) * SplitGranule;
        return ((int)Chunks(spec.KeyLength, keys), (int)keys);
    }
}
