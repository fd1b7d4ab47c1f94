using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Cpu;

/// <summary>What <see cref="LineKernel"/> does, for one to four rows and eight columns, on every processor with AVX2 and every system.</summary>
/// <remarks>
/// The same idea in the runtime's own vectors: eight lines of eight numbers are transposed in registers and multiplied at once. Eight vectors of columns
/// and four sums are what sixteen registers have room for; more rows are better off with packed columns. The bits are those of
/// <see cref="MicroKernel"/>: one chain of multiply-adds over ascending k.
/// </remarks>
internal static unsafe class FewRowsKernel
{
    /// <summary>Most rows.</summary>
    public const int MaxRows = 4;

    /// <summary>Columns, and steps that are transposed at a time.</summary>
    public const int Side = 8;

    private static readonly delegate*<nint, float*, byte*, nint, float*, nint, bool, byte*, void>[] s_kernels =
        [null, &Run<Rows1, Float32Element>, &Run<Rows2, Float32Element>, &Run<Rows3, Float32Element>, &Run<Rows4, Float32Element>];

    private static readonly delegate*<nint, float*, byte*, nint, float*, nint, bool, byte*, void>[] s_halfKernels =
        [null, &Run<Rows1, BFloat16Element>, &Run<Rows2, BFloat16Element>, &Run<Rows3, BFloat16Element>, &Run<Rows4, BFloat16Element>];

    /// <summary>Whether this processor has what it takes: products run on vectors of at least 256 bits.</summary>
    public static bool IsSupported => Avx2.IsSupported && KernelTable.Lanes >= Side;

    /// <summary>c[i, j] = or += sum over k of a[k, i] lines[j, k], 8 columns j.</summary>
    /// <param name="half">Lines are bfloat16, widened as they are read; a is float32 all the same.</param>
    /// <param name="rows">Rows, 1 to <see cref="MaxRows"/>.</param>
    /// <param name="depth">Numbers along k, a multiple of <see cref="Side"/>.</param>
    /// <param name="a">Packed [depth][rows].</param>
    /// <param name="lines">First of 8 lines.</param>
    /// <param name="lineStride">Bytes from one line to the next.</param>
    /// <param name="c">First sum.</param>
    /// <param name="stride">Distance between rows of c, in floats.</param>
    /// <param name="add">Start from c instead of zero.</param>
    /// <param name="following">First of the lines that come next, or null.</param>
    public static void Run(bool half, int rows, nint depth, float* a, void* lines, nint lineStride, float* c, nint stride, bool add, void* following) =>
        (half ? s_halfKernels : s_kernels)[rows](depth, a, (byte*)lines, lineStride, c, stride, add, (byte*)following);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Run<TRows, TElement>(nint depth, float* a, byte* lines, nint lineStride, float* c, nint stride, bool add, byte* following)
        where TRows : struct, IRows
        where TElement : struct, IElement
    {
        Vector256<float> c0 = default, c1 = default, c2 = default, c3 = default;
        if (add)
        {
            c0 = Vector256.Load(c);
            c1 = TRows.Count > 1 ? Vector256.Load(c + stride) : default;
            c2 = TRows.Count > 2 ? Vector256.Load(c + (2 * stride)) : default;
            c3 = TRows.Count > 3 ? Vector256.Load(c + (3 * stride)) : default;
        }

        // Eight pieces of lines, 256 numbers each, are asked for in 32 turns: a quarter of one with every turn.
        const int Quarter = GemmWorkspace.Depth / 4;
        byte* next = following == null ? lines : following;
        nint nextStep = following == null ? 0 : lineStride, line = (nint)lines, middle = line + (4 * lineStride), triple = 3 * lineStride;
        for (nint turn = 0; turn < depth / Side; turn++)
        {
            nint quarter = turn % 4 * Quarter * TElement.Size;
            for (int offset = 0; offset < Quarter * TElement.Size; offset += 64)
            {
                Sse.Prefetch0(next + quarter + offset);
            }

            next += turn % 4 == 3 ? nextStep : 0;
            Vector256<float> r0 = TElement.Load(line, 0);
            Vector256<float> r1 = TElement.Load(line + lineStride, 0);
            Vector256<float> r2 = TElement.Load(line + (2 * lineStride), 0);
            Vector256<float> r3 = TElement.Load(line + triple, 0);
            Vector256<float> r4 = TElement.Load(middle, 0);
            Vector256<float> r5 = TElement.Load(middle + lineStride, 0);
            Vector256<float> r6 = TElement.Load(middle + (2 * lineStride), 0);
            Vector256<float> r7 = TElement.Load(middle + triple, 0);
            GemmTranspose.Transpose8(ref r0, ref r1, ref r2, ref r3, ref r4, ref r5, ref r6, ref r7);
            Add<TRows>(r0, a, ref c0, ref c1, ref c2, ref c3);
            Add<TRows>(r1, a + TRows.Count, ref c0, ref c1, ref c2, ref c3);
            Add<TRows>(r2, a + (2 * TRows.Count), ref c0, ref c1, ref c2, ref c3);
            Add<TRows>(r3, a + (3 * TRows.Count), ref c0, ref c1, ref c2, ref c3);
            Add<TRows>(r4, a + (4 * TRows.Count), ref c0, ref c1, ref c2, ref c3);
            Add<TRows>(r5, a + (5 * TRows.Count), ref c0, ref c1, ref c2, ref c3);
            Add<TRows>(r6, a + (6 * TRows.Count), ref c0, ref c1, ref c2, ref c3);
            Add<TRows>(r7, a + (7 * TRows.Count), ref c0, ref c1, ref c2, ref c3);
            a += Side * TRows.Count;
            line += Side * TElement.Size;
            middle += Side * TElement.Size;
        }

        c0.Store(c);
        if (TRows.Count > 1)
        {
            c1.Store(c + stride);
        }

        if (TRows.Count > 2)
        {
            c2.Store(c + (2 * stride));
        }

        if (TRows.Count > 3)
        {
            c3.Store(c + (3 * stride));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add<TRows>(
        Vector256<float> columns, float* a, ref Vector256<float> c0, ref Vector256<float> c1, ref Vector256<float> c2, ref Vector256<float> c3)
        where TRows : struct, IRows
    {
        c0 = Simd256.MultiplyAdd(Simd256.Broadcast(a), columns, c0);
        if (TRows.Count > 1)
        {
            c1 = Simd256.MultiplyAdd(Simd256.Broadcast(a + 1), columns, c1);
        }

        if (TRows.Count > 2)
        {
            c2 = Simd256.MultiplyAdd(Simd256.Broadcast(a + 2), columns, c2);
        }

        if (TRows.Count > 3)
        {
            c3 = Simd256.MultiplyAdd(Simd256.Broadcast(a + 3), columns, c3);
        }
    }
}
