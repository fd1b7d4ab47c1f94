namespace MoeSharp.Cpu;

/// <summary>One product of a grouped call: C = A B with its own row count and depth.</summary>
internal unsafe struct GemmGroup
{
    /// <summary>[Rows, Depth], read through its strides.</summary>
    public GemmOperand A;

    /// <summary>[Depth, columns], read through its strides.</summary>
    public GemmOperand B;

    /// <summary>First element of the group's C, in the type of the call.</summary>
    public void* C;

    /// <summary>Rows of C.</summary>
    public int Rows;

    /// <summary>Length of the sums in packed steps: numbers, or pairs of them.</summary>
    public int Steps;

    /// <summary>Whether a step is a pair of bfloat16.</summary>
    public bool Pairs;

    /// <summary>Whether pairs are multiplied in tile registers.</summary>
    public bool Tiles;

    /// <summary>Index of the first row in the buffers of the epilogue.</summary>
    public int FirstRow;

    /// <summary>Tiles that the rows are cut into.</summary>
    public int RowTiles;

    /// <summary>Work items that the row tiles are cut into.</summary>
    public int RowBlocks;

    /// <summary>Number of the group's first work item.</summary>
    public int FirstItem;
}
