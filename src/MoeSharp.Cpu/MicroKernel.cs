using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Cpu;

/// <summary>The innermost loop of every matrix product: a tile of 1 to 14 rows and two vectors of columns stays in registers.</summary>
/// <remarks>
/// <para>The problem: a fused multiply-add per cycle and port needs two dozen independent accumulators, each in its own register, and the
/// edges of a matrix must not run on slower or differently rounding code. The difficulty: the compiler spills arrays and anything
/// indexed, and fourteen heights times three vector widths are too much text to keep right by hand.</para>
/// <para>The choice: accumulators are named locals, one pair per row; height and vector type are type parameters, so each of the
/// combinations in <see cref="KernelTable"/> compiles to straight code and the rows beyond the height vanish. 14 rows of two 512-bit
/// vectors use 28 of 32 registers, 6 rows of two 256-bit vectors use 12 of 16.</para>
/// <para>Rounding: each element of C is one chain of multiply-adds over ascending k that starts from zero or from C. It does not
/// depend on tile height, position in a tile, vector width or on where k is cut into blocks.</para>
/// </remarks>
internal static unsafe class MicroKernel
{
    /// <summary>Largest tile height.</summary>
    public const int MaxRows = 14;

    private const int PrefetchSteps = 16;

    /// <summary>c = a b, or c += a b.</summary>
    /// <param name="depth">Steps in k.</param>
    /// <param name="a">Packed [depth][rows].</param>
    /// <param name="b">Packed [depth][2 vectors].</param>
    /// <param name="c">First element of the tile.</param>
    /// <param name="stride">Distance between rows of c.</param>
    /// <param name="half">Distance between the two vectors of a row of c.</param>
    /// <param name="ahead">Distance from c to the tile that will be asked for next; its rows are prefetched.</param>
    /// <param name="add">Start from c instead of zero.</param>
    /// <param name="next">Memory to ask for on the way; see <see cref="PrefetchRun"/>.</param>
    /// <param name="nextStep">Bytes from one request to the next.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run<TSimd, TVector, TRows>(
        nint depth, float* a, float* b, float* c, nint stride, nint half, nint ahead, bool add, byte* next, nint nextStep)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct
        where TRows : struct, IRows
    {
        TVector c0L = default, c0R = default;
        TVector c1L = default, c1R = default;
        TVector c2L = default, c2R = default;
        TVector c3L = default, c3R = default;
        TVector c4L = default, c4R = default;
        TVector c5L = default, c5R = default;
        TVector c6L = default, c6R = default;
        TVector c7L = default, c7R = default;
        TVector c8L = default, c8R = default;
        TVector c9L = default, c9R = default;
        TVector c10L = default, c10R = default;
        TVector c11L = default, c11R = default;
        TVector c12L = default, c12R = default;
        TVector c13L = default, c13R = default;
        if (add)
        {
            float* p = c;
            c0L = TSimd.Load(p);
            c0R = TSimd.Load(p + half);
            if (TRows.Count > 1)
            {
                p += stride;
                c1L = TSimd.Load(p);
                c1R = TSimd.Load(p + half);
            }

            if (TRows.Count > 2)
            {
                p += stride;
                c2L = TSimd.Load(p);
                c2R = TSimd.Load(p + half);
            }

            if (TRows.Count > 3)
            {
                p += stride;
                c3L = TSimd.Load(p);
                c3R = TSimd.Load(p + half);
            }

            if (TRows.Count > 4)
            {
                p += stride;
                c4L = TSimd.Load(p);
                c4R = TSimd.Load(p + half);
            }

            if (TRows.Count > 5)
            {
                p += stride;
                c5L = TSimd.Load(p);
                c5R = TSimd.Load(p + half);
            }

            if (TRows.Count > 6)
            {
                p += stride;
                c6L = TSimd.Load(p);
                c6R = TSimd.Load(p + half);
            }

            if (TRows.Count > 7)
            {
                p += stride;
                c7L = TSimd.Load(p);
                c7R = TSimd.Load(p + half);
            }

            if (TRows.Count > 8)
            {
                p += stride;
                c8L = TSimd.Load(p);
                c8R = TSimd.Load(p + half);
            }

            if (TRows.Count > 9)
            {
                p += stride;
                c9L = TSimd.Load(p);
                c9R = TSimd.Load(p + half);
            }

            if (TRows.Count > 10)
            {
                p += stride;
                c10L = TSimd.Load(p);
                c10R = TSimd.Load(p + half);
            }

            if (TRows.Count > 11)
            {
                p += stride;
                c11L = TSimd.Load(p);
                c11R = TSimd.Load(p + half);
            }

            if (TRows.Count > 12)
            {
                p += stride;
                c12L = TSimd.Load(p);
                c12R = TSimd.Load(p + half);
            }

            if (TRows.Count > 13)
            {
                p += stride;
                c13L = TSimd.Load(p);
                c13R = TSimd.Load(p + half);
            }
        }

        if (Sse.IsSupported)
        {
            float* row = c + ahead;
            for (int i = 0; i < TRows.Count; i++)
            {
                Sse.Prefetch0(row);
                Sse.Prefetch0(row + half);
                row += stride;
            }
        }

        for (; depth > 0; depth--)
        {
            if (Sse.IsSupported)
            {
                Sse.Prefetch0(b + (PrefetchSteps * 2 * TSimd.Lanes));
                if (TSimd.Lanes > 8)
                {
                    Sse.Prefetch0(b + (((PrefetchSteps * 2) + 1) * TSimd.Lanes));
                }

                if (depth % PrefetchRun.StepsPerRequest == 0)
                {
                    Sse.Prefetch1(next);
                    Sse.Prefetch1(next + 64);
                    next += nextStep;
                }
            }

            TVector left = TSimd.Load(b);
            TVector right = TSimd.Load(b + TSimd.Lanes);
            TVector x = TSimd.Broadcast(a);
            c0L = TSimd.MultiplyAdd(x, left, c0L);
            c0R = TSimd.MultiplyAdd(x, right, c0R);
            if (TRows.Count > 1)
            {
                x = TSimd.Broadcast(a + 1);
                c1L = TSimd.MultiplyAdd(x, left, c1L);
                c1R = TSimd.MultiplyAdd(x, right, c1R);
            }

            if (TRows.Count > 2)
            {
                x = TSimd.Broadcast(a + 2);
                c2L = TSimd.MultiplyAdd(x, left, c2L);
                c2R = TSimd.MultiplyAdd(x, right, c2R);
            }

            if (TRows.Count > 3)
            {
                x = TSimd.Broadcast(a + 3);
                c3L = TSimd.MultiplyAdd(x, left, c3L);
                c3R = TSimd.MultiplyAdd(x, right, c3R);
            }

            if (TRows.Count > 4)
            {
                x = TSimd.Broadcast(a + 4);
                c4L = TSimd.MultiplyAdd(x, left, c4L);
                c4R = TSimd.MultiplyAdd(x, right, c4R);
            }

            if (TRows.Count > 5)
            {
                x = TSimd.Broadcast(a + 5);
                c5L = TSimd.MultiplyAdd(x, left, c5L);
                c5R = TSimd.MultiplyAdd(x, right, c5R);
            }

            if (TRows.Count > 6)
            {
                x = TSimd.Broadcast(a + 6);
                c6L = TSimd.MultiplyAdd(x, left, c6L);
                c6R = TSimd.MultiplyAdd(x, right, c6R);
            }

            if (TRows.Count > 7)
            {
                x = TSimd.Broadcast(a + 7);
                c7L = TSimd.MultiplyAdd(x, left, c7L);
                c7R = TSimd.MultiplyAdd(x, right, c7R);
            }

            if (TRows.Count > 8)
            {
                x = TSimd.Broadcast(a + 8);
                c8L = TSimd.MultiplyAdd(x, left, c8L);
                c8R = TSimd.MultiplyAdd(x, right, c8R);
            }

            if (TRows.Count > 9)
            {
                x = TSimd.Broadcast(a + 9);
                c9L = TSimd.MultiplyAdd(x, left, c9L);
                c9R = TSimd.MultiplyAdd(x, right, c9R);
            }

            if (TRows.Count > 10)
            {
                x = TSimd.Broadcast(a + 10);
                c10L = TSimd.MultiplyAdd(x, left, c10L);
                c10R = TSimd.MultiplyAdd(x, right, c10R);
            }

            if (TRows.Count > 11)
            {
                x = TSimd.Broadcast(a + 11);
                c11L = TSimd.MultiplyAdd(x, left, c11L);
                c11R = TSimd.MultiplyAdd(x, right, c11R);
            }

            if (TRows.Count > 12)
            {
                x = TSimd.Broadcast(a + 12);
                c12L = TSimd.MultiplyAdd(x, left, c12L);
                c12R = TSimd.MultiplyAdd(x, right, c12R);
            }

            if (TRows.Count > 13)
            {
                x = TSimd.Broadcast(a + 13);
                c13L = TSimd.MultiplyAdd(x, left, c13L);
                c13R = TSimd.MultiplyAdd(x, right, c13R);
            }

            a += TRows.Count;
            b += 2 * TSimd.Lanes;
        }

        TSimd.Store(c0L, c);
        TSimd.Store(c0R, c + half);
        if (TRows.Count > 1)
        {
            c += stride;
            TSimd.Store(c1L, c);
            TSimd.Store(c1R, c + half);
        }

        if (TRows.Count > 2)
        {
            c += stride;
            TSimd.Store(c2L, c);
            TSimd.Store(c2R, c + half);
        }

        if (TRows.Count > 3)
        {
            c += stride;
            TSimd.Store(c3L, c);
            TSimd.Store(c3R, c + half);
        }

        if (TRows.Count > 4)
        {
            c += stride;
            TSimd.Store(c4L, c);
            TSimd.Store(c4R, c + half);
        }

        if (TRows.Count > 5)
        {
            c += stride;
            TSimd.Store(c5L, c);
            TSimd.Store(c5R, c + half);
        }

        if (TRows.Count > 6)
        {
            c += stride;
            TSimd.Store(c6L, c);
            TSimd.Store(c6R, c + half);
        }

        if (TRows.Count > 7)
        {
            c += stride;
            TSimd.Store(c7L, c);
            TSimd.Store(c7R, c + half);
        }

        if (TRows.Count > 8)
        {
            c += stride;
            TSimd.Store(c8L, c);
            TSimd.Store(c8R, c + half);
        }

        if (TRows.Count > 9)
        {
            c += stride;
            TSimd.Store(c9L, c);
            TSimd.Store(c9R, c + half);
        }

        if (TRows.Count > 10)
        {
            c += stride;
            TSimd.Store(c10L, c);
            TSimd.Store(c10R, c + half);
        }

        if (TRows.Count > 11)
        {
            c += stride;
            TSimd.Store(c11L, c);
            TSimd.Store(c11R, c + half);
        }

        if (TRows.Count > 12)
        {
            c += stride;
            TSimd.Store(c12L, c);
            TSimd.Store(c12R, c + half);
        }

        if (TRows.Count > 13)
        {
            c += stride;
            TSimd.Store(c13L, c);
            TSimd.Store(c13R, c + half);
        }
    }
}
