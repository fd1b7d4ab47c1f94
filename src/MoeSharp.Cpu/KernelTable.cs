using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Cpu;

/// <summary>The kernels for this processor's widest vectors, one per tile height.</summary>
internal static unsafe class KernelTable
{
    private static readonly delegate*<nint, float*, float*, float*, nint, nint, nint, bool, byte*, nint, void>[] s_kernels = Choose();

    /// <summary>Numbers per vector: 16, 8 or 4.</summary>
    public static int Lanes => Vector512.IsHardwareAccelerated ? 16 : Vector256.IsHardwareAccelerated ? 8 : 4;

    /// <summary>Columns of a tile: two vectors.</summary>
    public static int TileColumns => 2 * Lanes;

    /// <summary>Most rows of a tile that leave no accumulator without a register: 14 of 32 registers' worth, or 6 of 16.</summary>
    public static int TileRows => Vector512.IsHardwareAccelerated || AdvSimd.IsSupported || Avx512F.VL.IsSupported ? 14 : 6;

    /// <summary>The kernel for a tile height, 1 to <see cref="MicroKernel.MaxRows"/>.</summary>
    public static delegate*<nint, float*, float*, float*, nint, nint, nint, bool, byte*, nint, void> ForRows(int rows) => s_kernels[rows];

    private static delegate*<nint, float*, float*, float*, nint, nint, nint, bool, byte*, nint, void>[] Choose() =>
        Vector512.IsHardwareAccelerated ? Make<Simd512, Vector512<float>>()
        : Vector256.IsHardwareAccelerated ? Make<Simd256, Vector256<float>>()
        : Make<Simd128, Vector128<float>>();

    private static delegate*<nint, float*, float*, float*, nint, nint, nint, bool, byte*, nint, void>[] Make<TSimd, TVector>()
        where TSimd : struct, ISimd<TVector>
        where TVector : struct =>
    [
        null,
        &MicroKernel.Run<TSimd, TVector, Rows1>,
        &MicroKernel.Run<TSimd, TVector, Rows2>,
        &MicroKernel.Run<TSimd, TVector, Rows3>,
        &MicroKernel.Run<TSimd, TVector, Rows4>,
        &MicroKernel.Run<TSimd, TVector, Rows5>,
        &MicroKernel.Run<TSimd, TVector, Rows6>,
        &MicroKernel.Run<TSimd, TVector, Rows7>,
        &MicroKernel.Run<TSimd, TVector, Rows8>,
        &MicroKernel.Run<TSimd, TVector, Rows9>,
        &MicroKernel.Run<TSimd, TVector, Rows10>,
        &MicroKernel.Run<TSimd, TVector, Rows11>,
        &MicroKernel.Run<TSimd, TVector, Rows12>,
        &MicroKernel.Run<TSimd, TVector, Rows13>,
        &MicroKernel.Run<TSimd, TVector, Rows14>,
    ];
}
