using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>Pointers and sizes that a simple op hands to its chunks, by value, so that a parallel loop makes no closure.</summary>
internal unsafe struct Operands
{
    /// <summary>Float operands in the order of the op's parameters.</summary>
    public float* A, B, C, D, E, F;

    /// <summary>Integer operands.</summary>
    public int* Ids;

    /// <summary>Work memory of all chunks.</summary>
    public float* Partials;

    /// <summary>Elements, for ops over flat arrays.</summary>
    public long Count;

    /// <summary>Rows, their width, and how many rows a chunk takes.</summary>
    public int Rows, Width, Step;

    /// <summary>A factor of the op.</summary>
    public float Scalar;

    /// <summary>Address of a float tensor's data.</summary>
    public static float* Floats(Tensor tensor) => (float*)tensor.Pointer;

    /// <summary>Address of an Int32 tensor's data.</summary>
    public static int* Ints(Tensor tensor) => (int*)tensor.Pointer;

    /// <summary>First row behind a chunk.</summary>
    public readonly int End(int chunk) => (int)Math.Min(Rows, (chunk + 1L) * Step);

    /// <summary>Number of chunks of <see cref="Step"/> rows.</summary>
    public readonly int Chunks => (int)(((long)Rows + Step - 1) / Step);
}
