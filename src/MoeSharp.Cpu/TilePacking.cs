using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Cpu;

/// <summary>Copies rows of pairs into the order in which <see cref="TileKernel"/> reads them: [steps / 16][32 rows][16 steps].</summary>
/// <remarks>
/// The twin of <see cref="GemmPacking"/> for rows; columns are packed there. Here lines along k are copied as they are, and lines over k are
/// transposed in squares of 16. Steps behind the last one are zeros up to a multiple of 16, in rows and in columns: a product of tiles takes all
/// 16, and zero times what stood there before might not be zero. Rows that a tile does not have are left as they are: they are never read.
/// </remarks>
internal static unsafe class TilePacking
{
    private const int Side = TileKernel.Side;

    /// <summary>One tile of up to 32 rows whose lines run along k.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void RowTile(in GemmOperand a, int first, int rows, int start, int depth, float* destination)
    {
        for (int i = 0; i < rows; i++)
        {
            float* line = a.Steps(first + i, start, depth, null);
            float* target = destination + (i * Side);
            int k = 0;
            for (; k <= depth - Side; k += Side)
            {
                Vector512.Load(line + k).Store(target);
                target += TileKernel.MaxRows * Side;
            }

            if (k < depth)
            {
                Vector512<float>.Zero.Store(target);
                Unsafe.CopyBlockUnaligned(target, line + k, (uint)(depth - k) * sizeof(float));
            }
        }
    }

    /// <summary>Several tiles of a matrix whose lines run over k: each line is read once for all of them.</summary>
    /// <param name="a">The matrix, depth-major.</param>
    /// <param name="edges">First row of each tile, and the end of the last one.</param>
    /// <param name="tiles">Number of tiles.</param>
    /// <param name="start">First step in k.</param>
    /// <param name="depth">Number of steps.</param>
    /// <param name="destination">First tile.</param>
    /// <param name="tileStride">Distance between packed tiles.</param>
    /// <param name="staging">Work memory of <see cref="GemmWorkspace.Staging"/>.</param>
    public static void RowTiles(in GemmOperand a, int* edges, int tiles, int start, int depth, float* destination, nint tileStride, float* staging)
    {
        int origin = edges[0], count = edges[tiles] - origin;
        float** lines = stackalloc float*[Side];
        for (int k = 0; k < depth; k += Side)
        {
            // A square may read up to 15 numbers behind the last row.
            int steps = Math.Min(Side, depth - k);
            for (int step = 0; step < steps; step++)
            {
                lines[step] = a.Across(start + k + step, origin, count, staging + (step * (count + Side)));
            }

            for (int tile = 0; tile < tiles; tile++)
            {
                float* target = destination + (tile * tileStride) + (k * TileKernel.MaxRows);
                for (int row = edges[tile]; row < edges[tile + 1]; row += Side)
                {
                    GemmTranspose.Prefetch(lines, steps, row - origin + GemmTranspose.PrefetchDistance);
                    GemmTranspose.Square(lines, steps, row - origin, target + ((row - edges[tile]) * Side), Side);
                }
            }
        }
    }

    /// <summary>Zeros behind the last step of packed columns.</summary>
    public static void PadColumns(float* block, nint tileStride, int tiles, int depth)
    {
        int missing = -depth & (Side - 1);
        for (int tile = 0; tile < tiles && missing > 0; tile++)
        {
            new Span<float>(block + (tile * tileStride) + (depth * TileKernel.Columns), missing * TileKernel.Columns).Clear();
        }
    }
}
