using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Cpu;

/// <summary>Small matrix products for attention: operands where they lie, a tile of up to 8 rows and two vectors in registers.</summary>
/// <remarks>
/// <para>The problem: attention multiplies tiles of 8 x 64 numbers, too small to pack both sides, and needs the left side as stored
/// (queries) and transposed (probabilities). The choice: the left side is read one number at a time through two strides, the right
/// side a vector at a time through one, so only key tiles have to be transposed beforehand.</para>
/// <para>Each element of C is one chain of multiply-adds over ascending k, from zero or from C: bits do not depend on the tile, the
/// position in it or the vector width, and terms with a zero factor in front do not change a result.</para>
/// </remarks>
internal static unsafe class TileGemm
{
    /// <summary>Rows that callers should offer at a time.</summary>
    public const int RowBlock = 8;

    /// <summary>Columns of C and of B's storage come in multiples of this.</summary>
    public const int ColumnBlock = 16;

    /// <summary>C = A B or C += A B; A(i, k) = a[i * aRow + k * aStep], B(k, j) = b[k * bRow + j], C(i, j) = c[i * cRow + j].</summary>
    /// <param name="a">Left side.</param>
    /// <param name="aRow">Distance between rows of A.</param>
    /// <param name="aStep">Distance between columns of A.</param>
    /// <param name="b">Right side.</param>
    /// <param name="bRow">Distance between rows of B.</param>
    /// <param name="c">Result.</param>
    /// <param name="cRow">Distance between rows of C.</param>
    /// <param name="rows">Rows of A and C.</param>
    /// <param name="columns">Columns of B and C, a multiple of <see cref="ColumnBlock"/>.</param>
    /// <param name="depth">Columns of A, rows of B.</param>
    /// <param name="add">Start from C instead of zero.</param>
    public static void Run(
        float* a, nint aRow, nint aStep, float* b, nint bRow, float* c, nint cRow, int rows, int columns, int depth, bool add)
    {
        if (Vector512.IsHardwareAccelerated)
        {
            Blocks<Simd512, Vector512<float>, Eight>(a, aRow, aStep, b, bRow, c, cRow, rows, columns, depth, add);
        }
        else if (Vector256.IsHardwareAccelerated)
        {
            Blocks<Simd256, Vector256<float>, Four>(a, aRow, aStep, b, bRow, c, cRow, rows, columns, depth, add);
        }
        else
        {
            Blocks<Simd128, Vector128<float>, Four>(a, aRow, aStep, b, bRow, c, cRow, rows, columns, depth, add);
        }
    }

    private static void Blocks<TSimd, TVector, TRows>(
        float* a, nint aRow, nint aStep, float* b, nint bRow, float* c, nint cRow, int rows, int columns, int depth, bool add)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct
        where TRows : struct, IRows
    {
        int pair = 2 * TSimd.Lanes, column = 0;
        for (; column <= columns - pair; column += pair)
        {
            Column<TSimd, TVector, TRows, Two>(a, aRow, aStep, b + column, bRow, c + column, cRow, rows, depth, add);
        }

        for (; column < columns; column += TSimd.Lanes)
        {
            Column<TSimd, TVector, TRows, One>(a, aRow, aStep, b + column, bRow, c + column, cRow, rows, depth, add);
        }
    }

    private static void Column<TSimd, TVector, TRows, TVectors>(
        float* a, nint aRow, nint aStep, float* b, nint bRow, float* c, nint cRow, int rows, int depth, bool add)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct
        where TRows : struct, IRows
        where TVectors : struct, IRows
    {
        int row = 0;
        for (; row <= rows - TRows.Count; row += TRows.Count)
        {
            Tile<TSimd, TVector, TRows, TVectors>(a + (row * aRow), aRow, aStep, b, bRow, c + (row * cRow), cRow, depth, add);
        }

        for (; row < rows; row++)
        {
            Tile<TSimd, TVector, One, TVectors>(a + (row * aRow), aRow, aStep, b, bRow, c + (row * cRow), cRow, depth, add);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tile<TSimd, TVector, TRows, TVectors>(
        float* a, nint aRow, nint aStep, float* b, nint bRow, float* c, nint cRow, int depth, bool add)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct
        where TRows : struct, IRows
        where TVectors : struct, IRows
    {
        TVector c0L = default, c0R = default;
        TVector c1L = default, c1R = default;
        TVector c2L = default, c2R = default;
        TVector c3L = default, c3R = default;
        TVector c4L = default, c4R = default;
        TVector c5L = default, c5R = default;
        TVector c6L = default, c6R = default;
        TVector c7L = default, c7R = default;
        if (add)
        {
            c0L = TSimd.Load(c);
            c0R = TVectors.Count > 1 ? TSimd.Load(c + TSimd.Lanes) : default;
            if (TRows.Count > 1)
            {
                c1L = TSimd.Load(c + cRow);
                c1R = TVectors.Count > 1 ? TSimd.Load(c + cRow + TSimd.Lanes) : default;
            }

            if (TRows.Count > 2)
            {
                c2L = TSimd.Load(c + (2 * cRow));
                c2R = TVectors.Count > 1 ? TSimd.Load(c + (2 * cRow) + TSimd.Lanes) : default;
            }

            if (TRows.Count > 3)
            {
                c3L = TSimd.Load(c + (3 * cRow));
                c3R = TVectors.Count > 1 ? TSimd.Load(c + (3 * cRow) + TSimd.Lanes) : default;
            }

            if (TRows.Count > 4)
            {
                c4L = TSimd.Load(c + (4 * cRow));
                c4R = TVectors.Count > 1 ? TSimd.Load(c + (4 * cRow) + TSimd.Lanes) : default;
            }

            if (TRows.Count > 5)
            {
                c5L = TSimd.Load(c + (5 * cRow));
                c5R = TVectors.Count > 1 ? TSimd.Load(c + (5 * cRow) + TSimd.Lanes) : default;
            }

            if (TRows.Count > 6)
            {
                c6L = TSimd.Load(c + (6 * cRow));
                c6R = TVectors.Count > 1 ? TSimd.Load(c + (6 * cRow) + TSimd.Lanes) : default;
            }

            if (TRows.Count > 7)
            {
                c7L = TSimd.Load(c + (7 * cRow));
                c7R = TVectors.Count > 1 ? TSimd.Load(c + (7 * cRow) + TSimd.Lanes) : default;
            }
        }

        // Rows 0..3 and 4..7 hang on one pointer each: three offsets serve both, as x86 addresses scale by 1, 2 and 4 only.
        float* low = a, high = a + (4 * aRow);
        nint twice = 2 * aRow, thrice = 3 * aRow;
        for (int k = 0; k < depth; k++)
        {
            TVector left = TSimd.Load(b), right = TVectors.Count > 1 ? TSimd.Load(b + TSimd.Lanes) : default, factor;
            factor = TSimd.Broadcast(low);
            c0L = TSimd.MultiplyAdd(factor, left, c0L);
            c0R = TVectors.Count > 1 ? TSimd.MultiplyAdd(factor, right, c0R) : default;
            if (TRows.Count > 1)
            {
                factor = TSimd.Broadcast(low + aRow);
                c1L = TSimd.MultiplyAdd(factor, left, c1L);
                c1R = TVectors.Count > 1 ? TSimd.MultiplyAdd(factor, right, c1R) : default;
            }

            if (TRows.Count > 2)
            {
                factor = TSimd.Broadcast(low + twice);
                c2L = TSimd.MultiplyAdd(factor, left, c2L);
                c2R = TVectors.Count > 1 ? TSimd.MultiplyAdd(factor, right, c2R) : default;
            }

            if (TRows.Count > 3)
            {
                factor = TSimd.Broadcast(low + thrice);
                c3L = TSimd.MultiplyAdd(factor, left, c3L);
                c3R = TVectors.Count > 1 ? TSimd.MultiplyAdd(factor, right, c3R) : default;
            }

            if (TRows.Count > 4)
            {
                factor = TSimd.Broadcast(high);
                c4L = TSimd.MultiplyAdd(factor, left, c4L);
                c4R = TVectors.Count > 1 ? TSimd.MultiplyAdd(factor, right, c4R) : default;
            }

            if (TRows.Count > 5)
            {
                factor = TSimd.Broadcast(high + aRow);
                c5L = TSimd.MultiplyAdd(factor, left, c5L);
                c5R = TVectors.Count > 1 ? TSimd.MultiplyAdd(factor, right, c5R) : default;
            }

            if (TRows.Count > 6)
            {
                factor = TSimd.Broadcast(high + twice);
                c6L = TSimd.MultiplyAdd(factor, left, c6L);
                c6R = TVectors.Count > 1 ? TSimd.MultiplyAdd(factor, right, c6R) : default;
            }

            if (TRows.Count > 7)
            {
                factor = TSimd.Broadcast(high + thrice);
                c7L = TSimd.MultiplyAdd(factor, left, c7L);
                c7R = TVectors.Count > 1 ? TSimd.MultiplyAdd(factor, right, c7R) : default;
            }

            low += aStep;
            high += aStep;
            b += bRow;
        }

        Write<TSimd, TVector, TVectors>(c0L, c0R, c);
        if (TRows.Count > 1)
        {
            Write<TSimd, TVector, TVectors>(c1L, c1R, c + cRow);
        }

        if (TRows.Count > 2)
        {
            Write<TSimd, TVector, TVectors>(c2L, c2R, c + (2 * cRow));
        }

        if (TRows.Count > 3)
        {
            Write<TSimd, TVector, TVectors>(c3L, c3R, c + (3 * cRow));
        }

        if (TRows.Count > 4)
        {
            Write<TSimd, TVector, TVectors>(c4L, c4R, c + (4 * cRow));
        }

        if (TRows.Count > 5)
        {
            Write<TSimd, TVector, TVectors>(c5L, c5R, c + (5 * cRow));
        }

        if (TRows.Count > 6)
        {
            Write<TSimd, TVector, TVectors>(c6L, c6R, c + (6 * cRow));
        }

        if (TRows.Count > 7)
        {
            Write<TSimd, TVector, TVectors>(c7L, c7R, c + (7 * cRow));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Write<TSimd, TVector, TVectors>(TVector left, TVector right, float* destination)
        where TSimd : struct, ISimd<TVector>
        where TVector : struct
        where TVectors : struct, IRows
    {
        TSimd.Store(left, destination);
        if (TVectors.Count > 1)
        {
            TSimd.Store(right, destination + TSimd.Lanes);
        }
    }

    private readonly struct One : IRows
    {
        public static int Count => 1;
    }

    private readonly struct Two : IRows
    {
        public static int Count => 2;
    }

    private readonly struct Four : IRows
    {
        public static int Count => 4;
    }

    private readonly struct Eight : IRows
    {
        public static int Count => 8;
    }
}
