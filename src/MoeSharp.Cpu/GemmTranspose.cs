using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Cpu;

/// <summary>Square transposes in registers: 16x16 on AVX-512, 8x8 on AVX.</summary>
/// <remarks>
/// Packing a matrix whose k runs along rows is a transpose; element by element it would cost as much as the product of a small
/// batch. Both routines read up to <c>rows</c> lines (missing ones count as zeros) and write one vector per k.
/// </remarks>
internal static unsafe class GemmTranspose
{
    /// <summary>
    /// How far ahead along a line to prefetch, in numbers: of 64, 128 and 256 the fastest at one token of <c>moe profile --shape olmoe-1b-7b</c>,
    /// where weights come from memory.
    /// </summary>
    public const int PrefetchDistance = 128;

    /// <summary>Side of the square that <see cref="Square"/> handles here: no wider than a vector of the kernels, whose neighbour it would overwrite.</summary>
    /// <remarks>0 where there is none. A processor with AVX but not AVX2 computes with 128 bits and packs element by element.</remarks>
    public static int Side => KernelTable.Lanes switch
    {
        16 when Avx512F.IsSupported => 16,
        >= 8 when Avx.IsSupported => 8,
        _ => 0,
    };

    /// <summary>Asks for a number of each line of a square that comes later: sixteen streams are more than the hardware follows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(float** lines, int rows, nint offset)
    {
        for (int i = 0; Sse.IsSupported && i < Math.Min(rows, Side); i++)
        {
            Sse.Prefetch0(lines[i] + offset);
        }
    }

    /// <summary>destination[k * stride + i] = lines[i][offset + k] for i and k below <see cref="Side"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Square(float** lines, int rows, nint offset, float* destination, nint stride)
    {
        if (Side == 16)
        {
            Square16(lines, rows, offset, destination, stride);
        }
        else
        {
            Square8(lines, rows, offset, destination, stride);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Square16(float** lines, int rows, nint offset, float* destination, nint stride)
    {
        Vector512<float> zero = Vector512<float>.Zero;
        Vector512<float> r0 = Vector512.Load(lines[0] + offset);
        Vector512<float> r1 = rows > 1 ? Vector512.Load(lines[1] + offset) : zero;
        Vector512<float> r2 = rows > 2 ? Vector512.Load(lines[2] + offset) : zero;
        Vector512<float> r3 = rows > 3 ? Vector512.Load(lines[3] + offset) : zero;
        Vector512<float> r4 = rows > 4 ? Vector512.Load(lines[4] + offset) : zero;
        Vector512<float> r5 = rows > 5 ? Vector512.Load(lines[5] + offset) : zero;
        Vector512<float> r6 = rows > 6 ? Vector512.Load(lines[6] + offset) : zero;
        Vector512<float> r7 = rows > 7 ? Vector512.Load(lines[7] + offset) : zero;
        Vector512<float> r8 = rows > 8 ? Vector512.Load(lines[8] + offset) : zero;
        Vector512<float> r9 = rows > 9 ? Vector512.Load(lines[9] + offset) : zero;
        Vector512<float> r10 = rows > 10 ? Vector512.Load(lines[10] + offset) : zero;
        Vector512<float> r11 = rows > 11 ? Vector512.Load(lines[11] + offset) : zero;
        Vector512<float> r12 = rows > 12 ? Vector512.Load(lines[12] + offset) : zero;
        Vector512<float> r13 = rows > 13 ? Vector512.Load(lines[13] + offset) : zero;
        Vector512<float> r14 = rows > 14 ? Vector512.Load(lines[14] + offset) : zero;
        Vector512<float> r15 = rows > 15 ? Vector512.Load(lines[15] + offset) : zero;

        Vector512<float> t0 = Avx512F.UnpackLow(r0, r1);
        Vector512<float> t1 = Avx512F.UnpackHigh(r0, r1);
        Vector512<float> t2 = Avx512F.UnpackLow(r2, r3);
        Vector512<float> t3 = Avx512F.UnpackHigh(r2, r3);
        Vector512<float> t4 = Avx512F.UnpackLow(r4, r5);
        Vector512<float> t5 = Avx512F.UnpackHigh(r4, r5);
        Vector512<float> t6 = Avx512F.UnpackLow(r6, r7);
        Vector512<float> t7 = Avx512F.UnpackHigh(r6, r7);
        Vector512<float> t8 = Avx512F.UnpackLow(r8, r9);
        Vector512<float> t9 = Avx512F.UnpackHigh(r8, r9);
        Vector512<float> t10 = Avx512F.UnpackLow(r10, r11);
        Vector512<float> t11 = Avx512F.UnpackHigh(r10, r11);
        Vector512<float> t12 = Avx512F.UnpackLow(r12, r13);
        Vector512<float> t13 = Avx512F.UnpackHigh(r12, r13);
        Vector512<float> t14 = Avx512F.UnpackLow(r14, r15);
        Vector512<float> t15 = Avx512F.UnpackHigh(r14, r15);

        r0 = LowPairs(t0, t2);
        r1 = HighPairs(t0, t2);
        r2 = LowPairs(t1, t3);
        r3 = HighPairs(t1, t3);
        r4 = LowPairs(t4, t6);
        r5 = HighPairs(t4, t6);
        r6 = LowPairs(t5, t7);
        r7 = HighPairs(t5, t7);
        r8 = LowPairs(t8, t10);
        r9 = HighPairs(t8, t10);
        r10 = LowPairs(t9, t11);
        r11 = HighPairs(t9, t11);
        r12 = LowPairs(t12, t14);
        r13 = HighPairs(t12, t14);
        r14 = LowPairs(t13, t15);
        r15 = HighPairs(t13, t15);

        t0 = Even(r0, r4);
        t1 = Even(r1, r5);
        t2 = Even(r2, r6);
        t3 = Even(r3, r7);
        t4 = Odd(r0, r4);
        t5 = Odd(r1, r5);
        t6 = Odd(r2, r6);
        t7 = Odd(r3, r7);
        t8 = Even(r8, r12);
        t9 = Even(r9, r13);
        t10 = Even(r10, r14);
        t11 = Even(r11, r15);
        t12 = Odd(r8, r12);
        t13 = Odd(r9, r13);
        t14 = Odd(r10, r14);
        t15 = Odd(r11, r15);

        Even(t0, t8).Store(destination);
        Even(t1, t9).Store(destination + stride);
        Even(t2, t10).Store(destination + (2 * stride));
        Even(t3, t11).Store(destination + (3 * stride));
        Even(t4, t12).Store(destination + (4 * stride));
        Even(t5, t13).Store(destination + (5 * stride));
        Even(t6, t14).Store(destination + (6 * stride));
        Even(t7, t15).Store(destination + (7 * stride));
        Odd(t0, t8).Store(destination + (8 * stride));
        Odd(t1, t9).Store(destination + (9 * stride));
        Odd(t2, t10).Store(destination + (10 * stride));
        Odd(t3, t11).Store(destination + (11 * stride));
        Odd(t4, t12).Store(destination + (12 * stride));
        Odd(t5, t13).Store(destination + (13 * stride));
        Odd(t6, t14).Store(destination + (14 * stride));
        Odd(t7, t15).Store(destination + (15 * stride));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Square8(float** lines, int rows, nint offset, float* destination, nint stride)
    {
        Vector256<float> zero = Vector256<float>.Zero;
        Vector256<float> r0 = Vector256.Load(lines[0] + offset);
        Vector256<float> r1 = rows > 1 ? Vector256.Load(lines[1] + offset) : zero;
        Vector256<float> r2 = rows > 2 ? Vector256.Load(lines[2] + offset) : zero;
        Vector256<float> r3 = rows > 3 ? Vector256.Load(lines[3] + offset) : zero;
        Vector256<float> r4 = rows > 4 ? Vector256.Load(lines[4] + offset) : zero;
        Vector256<float> r5 = rows > 5 ? Vector256.Load(lines[5] + offset) : zero;
        Vector256<float> r6 = rows > 6 ? Vector256.Load(lines[6] + offset) : zero;
        Vector256<float> r7 = rows > 7 ? Vector256.Load(lines[7] + offset) : zero;

        Transpose8(ref r0, ref r1, ref r2, ref r3, ref r4, ref r5, ref r6, ref r7);
        r0.Store(destination);
        r1.Store(destination + stride);
        r2.Store(destination + (2 * stride));
        r3.Store(destination + (3 * stride));
        r4.Store(destination + (4 * stride));
        r5.Store(destination + (5 * stride));
        r6.Store(destination + (6 * stride));
        r7.Store(destination + (7 * stride));
    }

    /// <summary>Vector i holds number i of the eight vectors that were given.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose8(
        ref Vector256<float> r0,
        ref Vector256<float> r1,
        ref Vector256<float> r2,
        ref Vector256<float> r3,
        ref Vector256<float> r4,
        ref Vector256<float> r5,
        ref Vector256<float> r6,
        ref Vector256<float> r7)
    {
        Vector256<float> t0 = Avx.UnpackLow(r0, r1);
        Vector256<float> t1 = Avx.UnpackHigh(r0, r1);
        Vector256<float> t2 = Avx.UnpackLow(r2, r3);
        Vector256<float> t3 = Avx.UnpackHigh(r2, r3);
        Vector256<float> t4 = Avx.UnpackLow(r4, r5);
        Vector256<float> t5 = Avx.UnpackHigh(r4, r5);
        Vector256<float> t6 = Avx.UnpackLow(r6, r7);
        Vector256<float> t7 = Avx.UnpackHigh(r6, r7);

        Vector256<float> p0 = LowPairs(t0, t2);
        Vector256<float> p1 = HighPairs(t0, t2);
        Vector256<float> p2 = LowPairs(t1, t3);
        Vector256<float> p3 = HighPairs(t1, t3);
        Vector256<float> p4 = LowPairs(t4, t6);
        Vector256<float> p5 = HighPairs(t4, t6);
        Vector256<float> p6 = LowPairs(t5, t7);
        Vector256<float> p7 = HighPairs(t5, t7);

        r0 = Avx.Permute2x128(p0, p4, 0x20);
        r1 = Avx.Permute2x128(p1, p5, 0x20);
        r2 = Avx.Permute2x128(p2, p6, 0x20);
        r3 = Avx.Permute2x128(p3, p7, 0x20);
        r4 = Avx.Permute2x128(p0, p4, 0x31);
        r5 = Avx.Permute2x128(p1, p5, 0x31);
        r6 = Avx.Permute2x128(p2, p6, 0x31);
        r7 = Avx.Permute2x128(p3, p7, 0x31);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> LowPairs(Vector512<float> a, Vector512<float> b) =>
        Avx512F.UnpackLow(a.AsDouble(), b.AsDouble()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> HighPairs(Vector512<float> a, Vector512<float> b) =>
        Avx512F.UnpackHigh(a.AsDouble(), b.AsDouble()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> LowPairs(Vector256<float> a, Vector256<float> b) =>
        Avx.UnpackLow(a.AsDouble(), b.AsDouble()).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> HighPairs(Vector256<float> a, Vector256<float> b) =>
        Avx.UnpackHigh(a.AsDouble(), b.AsDouble()).AsSingle();

    // Even or odd 128-bit quarters of a, then of b.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Even(Vector512<float> a, Vector512<float> b) => Avx512F.Shuffle4x128(a, b, 0x88);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Odd(Vector512<float> a, Vector512<float> b) => Avx512F.Shuffle4x128(a, b, 0xDD);
}
