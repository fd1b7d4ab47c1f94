using System.Runtime.InteropServices;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>Host memory for tensors and workspaces: aligned, larger than 2 GB when asked, counted.</summary>
/// <remarks>
/// Every block starts on a cache line, so that a vector load of an aligned row never splits a line. Blocks of 2 MiB and more start on
/// a 2 MiB boundary and ask for huge pages (<see cref="HugePages"/>).
/// </remarks>
internal static unsafe class CpuAllocator
{
    /// <summary>Alignment of every block: one cache line, one 512-bit vector.</summary>
    public const int Alignment = 64;

    /// <summary>Allocates a block with unspecified content; it is freed when its last lease returns.</summary>
    /// <exception cref="InsufficientMemoryException">The memory is not there.</exception>
    public static Storage Allocate(long byteCount) =>
        byteCount == 0 ? new Storage(0, 0, static _ => { }) : new Storage(AllocateBytes(byteCount), byteCount, Free);

    /// <summary>Allocates bytes that the caller gives to <see cref="FreeBytes"/>.</summary>
    /// <exception cref="InsufficientMemoryException">The memory is not there.</exception>
    public static nint AllocateBytes(long byteCount)
    {
        try
        {
            bool large = byteCount >= HugePages.Size;
            var pointer = (nint)NativeMemory.AlignedAlloc(checked((nuint)byteCount), (nuint)(large ? HugePages.Size : Alignment));
            if (large)
            {
                HugePages.Advise((void*)pointer, byteCount);
            }

            AllocationTracker.Allocated(byteCount);
            return pointer;
        }
        catch (OutOfMemoryException exception)
        {
            throw new InsufficientMemoryException(
                $"The host has no {byteCount} bytes left; use smaller batches or a smaller model, or dispose what is no longer used.",
                exception);
        }
    }

    /// <summary>Frees what <see cref="AllocateBytes"/> gave.</summary>
    public static void FreeBytes(nint pointer, long byteCount)
    {
        NativeMemory.AlignedFree((void*)pointer);
        AllocationTracker.Freed(byteCount);
    }

    private static void Free(Storage storage) => FreeBytes(storage.Pointer, storage.ByteCount);
}
