using System.Numerics;
using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Dense and optimizer ops.</content>
public static partial class CudaWorkspace
{
    /// <summary>Tokens that one block of the embedding's sort takes; SORT_CHUNK of dense/embedding.cu.</summary>
    internal const int SortChunk = 1024;

    /// <summary>Sorted tokens that are summed at a time; RUN of dense/embedding.cu.</summary>
    internal const int SortedRun = 32;

    /// <summary>Elements per partial sum of a gradient's norm; CHUNK of optimizer/grad_norm.cu.</summary>
    internal const int NormChunk = 16384;

    private const int LeastRowsPerChunk = 32;
    private const int MostChunks = 512;

    /// <summary>Bytes of <see cref="Backend.EmbeddingBackward"/>: two token orders, digit counts, and a row of sums per run of sorted tokens.</summary>
    /// <param name="tokens">Tokens T.</param>
    /// <param name="width">Width d of the table.</param>
    public static long EmbeddingBackward(long tokens, long width) => new EmbeddingBackwardLayout(tokens, width).Bytes;

    /// <summary>Bytes of <see cref="Backend.RmsNormBackward"/>: a row of partial weight gradients per chunk of rows.</summary>
    /// <param name="rows">Rows T.</param>
    /// <param name="width">Width d of a row.</param>
    public static long RmsNormBackward(long rows, long width) => ColumnPartials(rows, width);

    /// <summary>Bytes of <see cref="Backend.AddBiasBackward"/>: a row of partial sums per chunk of rows.</summary>
    /// <param name="rows">Rows T.</param>
    /// <param name="width">Width n of a row.</param>
    public static long AddBiasBackward(long rows, long width) => ColumnPartials(rows, width);

    /// <summary>Bytes of <see cref="Backend.Rope"/>: one frequency per pair of a head.</summary>
    public static long Rope(RopeSpec rope) => sizeof(ulong) * (rope.HeadDim / 2L);

    /// <summary>Bytes of <see cref="Backend.CrossEntropyBackward"/>: the factor on every row.</summary>
    public static long CrossEntropyBackward() => sizeof(float);

    /// <summary>Bytes of <see cref="Backend.GradNorm"/>: one double per chunk of each gradient.</summary>
    public static long GradNorm(IReadOnlyList<Tensor> gradients)
    {
        ArgumentNullException.ThrowIfNull(gradients);
        long chunks = 0;
        foreach (Tensor gradient in gradients)
        {
            chunks += Chunks(gradient.ElementCount, NormChunk);
        }

        return sizeof(double) * chunks;
    }

    /// <summary>Rows per chunk of a sum over rows. Depends on the number of rows alone, so the sum does not depend on the device.</summary>
    internal static int RowsPerChunk(long rows) => (int)Math.Max(LeastRowsPerChunk, Chunks(rows, MostChunks));

    /// <summary>ceil(count / size).</summary>
    internal static long Chunks(long count, long size) => (count + size - 1) / size;

    private static long ColumnPartials(long rows, long width) => sizeof(float) * Chunks(rows, RowsPerChunk(rows)) * width;

    /// <summary>Where the parts of the embedding gradient's workspace begin, in bytes.</summary>
    internal readonly record struct EmbeddingBackwardLayout
    {
        private const int Alignment = 256;

        public EmbeddingBackwardLayout(long tokens, long width)
        {
            Other = Aligned(sizeof(int) * tokens);
            Counts = Other + Aligned(sizeof(int) * tokens);
            Heads = Counts + Aligned(sizeof(int) * 256 * Chunks(tokens, SortChunk));
            Bytes = Heads + (sizeof(float) * Chunks(tokens, SortedRun) * width);
        }

        /// <summary>The second token order; the first begins at 0.</summary>
        public long Other { get; }

        /// <summary>Digit counts per chunk of tokens.</summary>
        public long Counts { get; }

        /// <summary>Sums of the segments that began in an earlier run.</summary>
        public long Heads { get; }

        /// <summary>All of it.</summary>
        public long Bytes { get; }

        /// <summary>Passes of the sort: 8 bits of the largest id each.</summary>
        public static int Passes(int vocabulary) => Math.Max(1, (BitOperations.Log2((uint)Math.Max(1, vocabulary - 1)) + 8) / 8);

        private static long Aligned(long bytes) => (bytes + Alignment - 1) / Alignment * Alignment;
    }
}
