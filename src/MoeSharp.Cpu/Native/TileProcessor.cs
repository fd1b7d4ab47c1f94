using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Cpu;

/// <summary>Who executes the code of <see cref="TileKernel"/>: the processor, where it has tiles and the system lets this process use them.</summary>
/// <remarks>
/// The problem: tile registers are 8 KiB that Linux does not save for a process that has not asked. The order of questions: does the processor
/// have tiles and bfloat16 products of them (CPUID leaf 7, EDX bits 24 and 22), does the system save them (ARCH_GET_XCOMP_SUPP), may this process
/// use them (ARCH_REQ_XCOMP_PERM)? One "no" and there is no such processor, with the reason. Sources: Intel SDM volume 1, chapter 18; Linux
/// Documentation/arch/x86/xstate.rst. The system also says no when a thread's signal stack has no room for the larger state.
/// </remarks>
internal abstract unsafe partial class TileProcessor
{
    private const int ArchPrctl = 158;
    private const int GetSupported = 0x1021;
    private const int RequestPermission = 0x1023;
    private const int TileConfiguration = 17;
    private const int TileData = 18;

    private static readonly (TileProcessor? Processor, string? Missing) s_native = Find();

    /// <summary>This machine's processor; null where <see cref="Missing"/> says why.</summary>
    public static TileProcessor? Native => s_native.Processor;

    /// <summary>What this machine lacks, to follow "but here"; null when nothing.</summary>
    public static string? Missing => s_native.Missing;

    /// <summary>Runs a routine of <see cref="TileKernel.Code"/> on the calling thread.</summary>
    /// <param name="entry">Where it starts.</param>
    /// <param name="argument">What it finds in its first register.</param>
    public abstract void Call(int entry, void* argument);

    private static (TileProcessor? Processor, string? Missing) Find()
    {
        if (!ExecutablePage.IsSupported)
        {
            return (null, "is no Linux on x86-64, which its code is written for");
        }

        // What is not multiplied in tiles is packed and finished in vectors of this width.
        if (!Vector512.IsHardwareAccelerated || !Avx512F.IsSupported)
        {
            return (null, "512-bit vectors are off or absent");
        }

        const int Needed = (1 << 24) | (1 << 22);
        if (X86Base.CpuId(0, 0).Eax < 7 || (X86Base.CpuId(7, 0).Edx & Needed) != Needed)
        {
            return (null, "the processor lacks AMX-TILE or AMX-BF16");
        }

        const ulong Components = (1UL << TileConfiguration) | (1UL << TileData);
        ulong saved = 0;
        if (SystemCall(ArchPrctl, GetSupported, (nint)(&saved)) != 0 || (saved & Components) != Components)
        {
            return (null, "the system does not save tile registers");
        }

        if (SystemCall(ArchPrctl, RequestPermission, TileData) != 0)
        {
            return (null, $"the system refuses this process tile registers ({Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())})");
        }

        nint page = ExecutablePage.Create(TileKernel.Code);
        return page == 0 ? (null, "the system forbids executable memory") : (new NativeProcessor(page), null);
    }

    [LibraryImport("libc", EntryPoint = "syscall", SetLastError = true)]
    private static partial nint SystemCall(nint number, nint first, nint second);

    private sealed class NativeProcessor(nint page) : TileProcessor
    {
        public override void Call(int entry, void* argument) => ((delegate* unmanaged[SuppressGCTransition]<void*, void>)(page + entry))(argument);
    }
}
