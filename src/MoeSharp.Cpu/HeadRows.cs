namespace MoeSharp.Cpu;

/// <summary>Where the rows of a head lie: in a token-major tensor, or in a packed copy.</summary>
internal readonly unsafe struct HeadRows(float* data, nint batchStride, nint headStride, nint rowStride)
{
    /// <summary>Distance between two rows of a head.</summary>
    public nint RowStride => rowStride;

    /// <summary>A row of a head of a sequence.</summary>
    public float* At(int batch, int head, int row) => data + (batch * batchStride) + (head * headStride) + (row * rowStride);
}
