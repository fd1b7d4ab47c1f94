using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>What products of bfloat16 are made of. Products of float32 use the widest vectors that the runtime has, and on Linux with AVX-512 read weights in place with the same ones.</summary>
public enum CpuIsa
{
    /// <summary>Bfloat16 is widened to float32 as it is read, and multiplied like it: any processor.</summary>
    Simd,

    /// <summary>Pairs of bfloat16 are multiplied by vdpbf16ps: Linux on x86-64 with AVX512-BF16.</summary>
    Avx512BFloat16,

    /// <summary>Tiles of bfloat16 pairs are multiplied by tdpbf16ps: Linux on x86-64 with AMX-BF16.</summary>
    Amx,
}

/// <summary>Chooses the instruction set for products of bfloat16, and names it.</summary>
public static class CpuIsas
{
    /// <summary>Environment variable that forces a choice.</summary>
    public const string Variable = "MOESHARP_CPU_ISA";

    /// <summary>The name that <see cref="Choose"/> takes.</summary>
    public static string Spelling(CpuIsa isa) => isa switch { CpuIsa.Amx => "amx", CpuIsa.Avx512BFloat16 => "avx512_bf16", _ => "simd" };

    /// <summary>The best one here, or the one that is asked for.</summary>
    /// <param name="asked">auto, simd, avx512_bf16 or amx; null and the empty text mean auto.</param>
    /// <exception cref="BackendUnavailableException">The name is unknown, or this machine does not have it.</exception>
    public static CpuIsa Choose(string? asked)
    {
        switch (asked?.Trim().ToLowerInvariant())
        {
            case null or "" or "auto":
                return Missing(CpuIsa.Amx) is null ? CpuIsa.Amx : Missing(CpuIsa.Avx512BFloat16) is null ? CpuIsa.Avx512BFloat16 : CpuIsa.Simd;
            case "simd":
                return CpuIsa.Simd;
            case "avx512_bf16":
                return Here(CpuIsa.Avx512BFloat16);
            case "amx":
                return Here(CpuIsa.Amx);
            default:
                throw new BackendUnavailableException($"{Variable}='{asked}' is not an instruction set; use auto, simd, avx512_bf16 or amx.");
        }
    }

    /// <summary>What this machine lacks for an instruction set, as the end of a sentence that starts with "here"; null when nothing.</summary>
    public static string? Missing(CpuIsa isa) => isa switch
    {
        CpuIsa.Amx => TileProcessor.Missing,
        CpuIsa.Avx512BFloat16 when DotKernel.IsSupported => null,
        CpuIsa.Avx512BFloat16 when !ExecutablePage.IsSupported => "is no Linux on x86-64, which its code is written for",
        CpuIsa.Avx512BFloat16 when !Vector512.IsHardwareAccelerated => "512-bit vectors are off or absent",
        CpuIsa.Avx512BFloat16 => "the processor lacks AVX512-BF16, or the system forbids executable memory",
        _ => null,
    };

    private static CpuIsa Here(CpuIsa isa) =>
        Missing(isa) is { } missing ? throw new BackendUnavailableException($"{Variable}={Spelling(isa)}, but here {missing}. Use {Variable}=auto.") : isa;
}
