using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Cpu;

/// <summary>Copies blocks of a matrix into the order in which <see cref="MicroKernel"/> reads them.</summary>
/// <remarks>
/// <para>The problem: four combinations of transposes, gathered rows, ragged edges. The choice: two copies, one for lines that run
/// along k (a transpose) and one for lines that run over k (a strided copy); the operand says where its lines are, so a gather or a
/// transpose is never written out. Missing columns become zeros, so edge tiles run through the same kernel.</para>
/// <para>Vectors may be stored past the last row of a step; the next step overwrites them, and <see cref="Slack"/> numbers of room
/// behind each panel catch the last ones.</para>
/// </remarks>
internal static unsafe class GemmPacking
{
    /// <summary>Room behind every packed panel, in numbers.</summary>
    public const int Slack = 16;

    /// <summary>
    /// How many steps ahead lines over k are asked for, which lie far apart: of 0, 2 and 6 the fastest with backward on the layers A and B of bench/peers/cpu, in turns;
    /// up to 1.05 times at 30 rows per expert.
    /// </summary>
    private const int Ahead = 2;

    /// <summary>destination[k * rows + i] = A[first + i, start + k]: one tile of up to 14 rows.</summary>
    /// <param name="a">The matrix, whose lines run along k.</param>
    /// <param name="first">First row.</param>
    /// <param name="rows">Number of rows.</param>
    /// <param name="following">Rows of the tile that is packed next, which are asked for on the way; 0 without one.</param>
    /// <param name="start">First step in k.</param>
    /// <param name="depth">Number of steps.</param>
    /// <param name="destination">The packed tile.</param>
    /// <param name="staging">Work memory of <see cref="GemmWorkspace.Staging"/>.</param>
    public static void RowTile(in GemmOperand a, int first, int rows, int following, int start, int depth, float* destination, float* staging)
    {
        float** lines = stackalloc float*[2 * MicroKernel.MaxRows], later = lines + MicroKernel.MaxRows;
        for (int i = 0; i < rows; i++)
        {
            lines[i] = a.Steps(first + i, start, depth, staging + (i * GemmWorkspace.Depth));
            later[i] = i < following ? (float*)a.Line(first + rows + i, start) : lines[i];
        }

        Transpose(lines, following > 0 ? later : null, rows, rows, depth, destination, rows);
    }

    /// <summary>The same for several tiles of a matrix whose lines run over k: each line is read once for all of them.</summary>
    /// <param name="a">The matrix, depth-major.</param>
    /// <param name="edges">First row of each tile, and the end of the last one.</param>
    /// <param name="tiles">Number of tiles.</param>
    /// <param name="rowCount">Rows of the whole matrix: reads stay below.</param>
    /// <param name="start">First k.</param>
    /// <param name="depth">Number of k.</param>
    /// <param name="destination">First tile.</param>
    /// <param name="tileStride">Distance between packed tiles.</param>
    /// <param name="staging">Work memory of <see cref="GemmWorkspace.Staging"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void RowTiles(
        in GemmOperand a, int* edges, int tiles, int rowCount, int start, int depth, float* destination, nint tileStride, float* staging)
    {
        int origin = edges[0], count = edges[tiles] - origin;
        bool staged = a.Reading != GemmReading.Float32;
        if (a.Reading == GemmReading.Pairs && edges[tiles - 1] + 16 <= rowCount)
        {
            PairRows(a, edges, tiles, start, depth, destination, tileStride, (ushort*)staging);
            return;
        }

        for (nint k = 0; k < depth; k++)
        {
            float* line = a.Across(start + k, origin, count, staging) - origin;
            for (int tile = 0; tile < tiles; tile++)
            {
                int first = edges[tile], rows = edges[tile + 1] - first;
                float* target = destination + (tile * tileStride) + (k * rows);
                if (staged || first + 16 <= rowCount)
                {
                    Vector512.Load(line + first).Store(target);
                }
                else
                {
                    Unsafe.CopyBlockUnaligned(target, line + first, (uint)rows * sizeof(float));
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PairRows(in GemmOperand a, int* edges, int tiles, int start, int depth, float* destination, nint tileStride, ushort* zeros)
    {
        int origin = edges[0];
        for (nint k = 0; k < depth; k++)
        {
            ushort* first = a.HalfLine(2 * (start + k), origin), second = a.HalfLine((2 * (start + k)) + 1, origin);
            if (second == null)
            {
                new Span<ushort>(zeros, edges[tiles - 1] + 16 - origin).Clear();
                second = zeros;
            }

            for (int tile = 0; tile < tiles; tile++)
            {
                int row = edges[tile] - origin, rows = edges[tile + 1] - edges[tile];
                BFloat16Rows.Pairs(first + row, second + row).Store((uint*)(destination + (tile * tileStride) + (k * rows)));
            }
        }
    }

    /// <summary>Whole tiles of columns of a depth-major B: each line is read once for all of them.</summary>
    /// <param name="b">The matrix, depth-major.</param>
    /// <param name="column">First column.</param>
    /// <param name="tiles">Number of tiles, all of them inside the matrix.</param>
    /// <param name="start">First k.</param>
    /// <param name="depth">Number of k.</param>
    /// <param name="destination">First tile.</param>
    /// <param name="tileStride">Distance between packed tiles.</param>
    /// <param name="staging">Work memory of <see cref="GemmWorkspace.Staging"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void ColumnTiles(
        in GemmOperand b, int column, int tiles, int start, int depth, float* destination, nint tileStride, float* staging)
    {
        int width = KernelTable.TileColumns;
        if (b.Reading == GemmReading.Pairs && width == 32)
        {
            PairTiles(b, column, tiles, start, depth, destination, tileStride, (ushort*)staging);
            return;
        }

        for (nint k = 0; k < depth; k++)
        {
            float* source = b.Across(start + k, column, tiles * width, staging);
            float* target = destination + (k * width);
            float* later = b.Reading == GemmReading.Float32 ? b.Across(start + Math.Min(k + Ahead, depth - 1), column, 0, staging) : source;
            for (int tile = 0; tile < tiles; tile++)
            {
                if (width == 32)
                {
                    Sse.Prefetch0(later + (tile * 32));
                    Sse.Prefetch0(later + (tile * 32) + 16);
                    Vector512.Load(source).Store(target);
                    Vector512.Load(source + 16).Store(target + 16);
                }
                else
                {
                    for (int i = 0; i < width; i += 8)
                    {
                        Vector256.Load(source + i).Store(target + i);
                    }
                }

                source += width;
                target += tileStride;
            }
        }
    }

    // Pairs are made of two lines on the way, sixteen at a time.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void PairTiles(in GemmOperand b, int column, int tiles, int start, int depth, float* destination, nint tileStride, ushort* zeros)
    {
        for (nint k = 0; k < depth; k++)
        {
            ushort* first = b.HalfLine(2 * (start + k), column), second = b.HalfLine((2 * (start + k)) + 1, column);
            if (second == null)
            {
                new Span<ushort>(zeros, tiles * 32).Clear();
                second = zeros;
            }

            float* target = destination + (k * 32);
            nint later = 2 * (start + Math.Min(k + Ahead, depth - 1));
            ushort* firstLater = b.HalfLine(later, column), secondLater = b.HalfLine(later + 1, column);
            for (int tile = 0; tile < tiles; tile++)
            {
                Sse.Prefetch0(firstLater + (tile * 32));
                Sse.Prefetch0(secondLater + (tile * 32));
                BFloat16Rows.Pairs(first, second).Store((uint*)target);
                BFloat16Rows.Pairs(first + 16, second + 16).Store((uint*)target + 16);
                first += 32;
                second += 32;
                target += tileStride;
            }
        }
    }

    /// <summary>
    /// destination[k * 2 lanes + i] = B[start + k, column + i] for half a tile of columns; columns beyond the count are zeros.
    /// </summary>
    public static void ColumnHalf(in GemmOperand b, int column, int columns, int start, int depth, float* destination, float* staging)
    {
        int lanes = KernelTable.Lanes;
        if (columns <= 0)
        {
            Zero(destination, depth);
        }
        else if (b.DepthMajor)
        {
            Copy(b, column, columns, start, depth, destination, staging);
        }
        else
        {
            float** lines = stackalloc float*[16];
            for (int i = 0; i < columns; i++)
            {
                lines[i] = b.Steps(column + i, start, depth, staging + (i * GemmWorkspace.Depth));
            }

            Transpose(lines, null, columns, lanes, depth, destination, 2 * lanes);
        }
    }

    // Behind the last step the lines themselves go on, unless others come next. Asking for those, which would be waited for half of the way at 256 steps, made
    // the layers of bench/peers/cpu 1.01 to 1.02 times as fast forward on one thread.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Transpose(float** lines, float** later, int count, int width, int depth, float* destination, nint stride)
    {
        int side = GemmTranspose.Side;
        nint k = 0;
        if (side != 0)
        {
            for (; k + side <= depth; k += side)
            {
                // Later squares first: what they store past the width, the first one overwrites.
                nint ahead = k + GemmTranspose.PrefetchDistance;
                bool others = later != null && ahead >= depth;
                for (int first = (count - 1) / side * side; first >= 0; first -= side)
                {
                    GemmTranspose.Prefetch((others ? later : lines) + first, count - first, others ? ahead - depth : ahead);
                    GemmTranspose.Square(lines + first, count - first, k, destination + (k * stride) + first, stride);
                }
            }
        }

        for (; k < depth; k++)
        {
            float* target = destination + (k * stride);
            for (int i = 0; i < width; i++)
            {
                target[i] = i < count ? lines[i][k] : 0f;
            }
        }
    }

    private static void Copy(in GemmOperand b, int column, int columns, int start, int depth, float* destination, float* staging)
    {
        int lanes = KernelTable.Lanes;
        for (nint k = 0; k < depth; k++)
        {
            float* target = destination + (k * 2 * lanes);
            new ReadOnlySpan<float>(b.Across(start + k, column, columns, staging), columns).CopyTo(new Span<float>(target, columns));
            new Span<float>(target + columns, lanes - columns).Clear();
        }
    }

    private static void Zero(float* destination, int depth)
    {
        int lanes = KernelTable.Lanes;
        for (nint k = 0; k < depth; k++)
        {
            new Span<float>(destination + (k * 2 * lanes), lanes).Clear();
        }
    }
}
