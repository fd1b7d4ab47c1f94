using System.Runtime.CompilerServices;

namespace MoeSharp.Cpu;

/// <summary>Work memory of the ops that are not matrix products: one shared block per slot and one block per thread.</summary>
/// <remarks>
/// Blocks only grow, so a training step allocates none once it has run. They are pinned arrays of the managed heap, which need no
/// owner that frees them. Content is unspecified; a block is valid until the same slot is asked for again.
/// </remarks>
internal sealed unsafe class OpScratch(int threads)
{
    private const int Alignment = 64;
    private readonly float[]?[] _perThread = new float[threads][];
    private readonly float[]?[] _shared = new float[SharedSlots][];

    /// <summary>How many shared blocks an op may use at the same time.</summary>
    public const int SharedSlots = 6;

    /// <summary>The block of the thread that runs the current chunk, at least this many floats, aligned to 64 bytes.</summary>
    public float* Thread(long floats) => Get(ref _perThread[CpuParallel.CurrentWorker], floats);

    /// <summary>A block that all threads of an op use, taken before its parallel loop starts.</summary>
    public float* Shared(int slot, long floats) => Get(ref _shared[slot], floats);

    private static float* Get(ref float[]? block, long floats)
    {
        int needed = checked((int)floats + (Alignment / sizeof(float)));
        if (block is null || block.Length < needed)
        {
            block = GC.AllocateUninitializedArray<float>(Math.Max(needed, 1024), pinned: true);
        }

        nint address = (nint)Unsafe.AsPointer(ref block[0]);
        return (float*)((address + Alignment - 1) & ~(nint)(Alignment - 1));
    }
}
