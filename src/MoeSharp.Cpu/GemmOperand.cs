namespace MoeSharp.Cpu;

/// <summary>One source matrix of a product, read in place: transposed or not, rows gathered or not.</summary>
/// <remarks>
/// "Line" is a stored row. With <see cref="DepthMajor"/> a line holds all outer indices (rows of A, columns of B) of one k;
/// without, it holds all k of one outer index. <see cref="Lines"/>, when given, names the stored row of each line.
/// </remarks>
internal unsafe struct GemmOperand
{
    /// <summary>First element.</summary>
    public float* Data;

    /// <summary>Distance between stored rows.</summary>
    public nint Stride;

    /// <summary>Stored row of each line, or null for 0, 1, 2, ...</summary>
    public int* Lines;

    /// <summary>Whether lines run over k.</summary>
    public bool DepthMajor;

    /// <summary>Address of a line.</summary>
    public readonly float* Line(nint index) => Data + ((Lines == null ? index : Lines[index]) * Stride);
}

/// <summary>One product of a grouped call: C = A B with its own row count and depth.</summary>
internal unsafe struct GemmGroup
{
    /// <summary>[Rows, Depth], read through its strides.</summary>
    public GemmOperand A;

    /// <summary>[Depth, columns], read through its strides.</summary>
    public GemmOperand B;

    /// <summary>First element of the group's C.</summary>
    public float* C;

    /// <summary>Rows of C.</summary>
    public int Rows;

    /// <summary>Length of the sums.</summary>
    public int Depth;

    /// <summary>Index of the first row in the buffers of the epilogue.</summary>
    public int FirstRow;

    /// <summary>Tiles that the rows are cut into.</summary>
    public int RowTiles;

    /// <summary>Work items that the row tiles are cut into.</summary>
    public int RowBlocks;

    /// <summary>Number of the group's first work item.</summary>
    public int FirstItem;
}
