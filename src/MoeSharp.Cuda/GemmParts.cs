namespace MoeSharp.Cuda;

/// <summary>How the sum of a matrix product is divided, so that a small C with a long k occupies the device.</summary>
/// <remarks>
/// <para>The problem: C = A^T B of a weight's gradient has few tiles, and k is the number of tokens; one block per tile would walk through all of them
/// while the rest of the device waits. The choice: parts of k with a C each, added in order by a second kernel.</para>
/// <para>A function of the shape alone, not of the device: parts change the rounding of the result.</para>
/// </remarks>
/// <param name="Count">Parts; 1 where the sum is not divided.</param>
/// <param name="Depth">Length of a part along k; the last may be shorter.</param>
internal readonly record struct GemmParts(int Count, int Depth)
{
    private const int Side = 64;             // of a tile, whatever tile is used
    private const int ManyTiles = 64;        // this many keep enough of a device busy
    private const int WantedBlocks = 128;
    private const int ShortestDivided = 2048;
    private const int ShortestPart = 512;
    private const int Alignment = 64;

    /// <summary>The parts of a product of m x k and k x n.</summary>
    public static GemmParts Of(long m, long n, int k)
    {
        long tiles = ((m + Side - 1) / Side) * ((n + Side - 1) / Side);
        if (k < ShortestDivided || tiles >= ManyTiles || tiles == 0)
        {
            return new(1, k);
        }

        int wanted = (int)Math.Min(WantedBlocks / tiles, k / ShortestPart);
        int depth = (((k + wanted - 1) / wanted) + Alignment - 1) / Alignment * Alignment;
        return new((k + depth - 1) / depth, depth);
    }
}
