namespace MoeSharp.Compression;

/// <summary>Divides vectors into clusters of equal size whose members point in similar directions.</summary>
/// <remarks>
/// <para>The problem: an expert is worth skipping as a whole only when its neurons are quiet together. The difficulty: all experts of a layer
/// have one width, and plain k-means gives clusters of any size. The choice: k-means on unit vectors whose assignment step takes pairs
/// (vector, cluster) from the most similar on and fills each cluster up to its size, as in MoEfication (arXiv 2110.01786).</para>
/// <para>Deterministic, on any number of threads: the first centres are the vectors farthest from those chosen before, beginning with vector
/// 0; every sum has a fixed order; equal similarities go to the lower vector, then the lower cluster.</para>
/// </remarks>
internal static class BalancedClusters
{
    private const int MostRounds = 30;

    /// <summary>Members of each cluster in ascending order; clusters in the order of their first member.</summary>
    /// <param name="vectors">[count, width], row after row.</param>
    /// <param name="count">Vectors, a multiple of <paramref name="clusters"/>.</param>
    /// <param name="clusters">Clusters.</param>
    public static int[][] Find(double[] vectors, int count, int clusters)
    {
        int width = vectors.Length / count;
        double[] unit = Unit(vectors, count, width);
        double[] centres = Spread(unit, count, width, clusters);
        int[] owner = Assign(unit, centres, count, width, clusters);
        for (int round = 1; round < MostRounds; round++)
        {
            centres = Unit(Sums(unit, owner, count, width, clusters), clusters, width);
            int[] next = Assign(unit, centres, count, width, clusters);
            if (next.AsSpan().SequenceEqual(owner))
            {
                break;
            }

            owner = next;
        }

        return [.. Enumerable.Range(0, count).GroupBy(vector => owner[vector]).Select(group => group.ToArray()).OrderBy(group => group[0])];
    }

    private static double[] Spread(double[] unit, int count, int width, int clusters)
    {
        var centres = new double[clusters * width];
        var nearest = new double[count];
        Array.Fill(nearest, double.NegativeInfinity);
        int chosen = 0;
        for (int cluster = 0; cluster < clusters; cluster++)
        {
            ReadOnlySpan<double> centre = unit.AsSpan(chosen * width, width);
            centre.CopyTo(centres.AsSpan(cluster * width));
            nearest[chosen] = double.PositiveInfinity;
            int farthest = chosen;
            for (int vector = 0; vector < count; vector++)
            {
                nearest[vector] = Math.Max(nearest[vector], Dot(unit.AsSpan(vector * width, width), centre));
                farthest = nearest[vector] < nearest[farthest] ? vector : farthest;
            }

            chosen = farthest;
        }

        return centres;
    }

    private static int[] Assign(double[] unit, double[] centres, int count, int width, int clusters)
    {
        var similarity = new double[count * clusters];
        Parallel.For(0, count, vector =>
        {
            for (int cluster = 0; cluster < clusters; cluster++)
            {
                similarity[(vector * clusters) + cluster] = Dot(unit.AsSpan(vector * width, width), centres.AsSpan(cluster * width, width));
            }
        });

        // A stable order, so ties keep that of the pairs: the lower vector, then the lower cluster.
        int[] pairs = [.. Enumerable.Range(0, similarity.Length).OrderByDescending(pair => similarity[pair])];
        var owner = new int[count];
        Array.Fill(owner, -1);
        var room = new int[clusters];
        Array.Fill(room, count / clusters);
        foreach (int pair in pairs)
        {
            (int vector, int cluster) = Math.DivRem(pair, clusters);
            if (owner[vector] < 0 && room[cluster] > 0)
            {
                owner[vector] = cluster;
                room[cluster]--;
            }
        }

        return owner;
    }

    private static double[] Sums(double[] unit, int[] owner, int count, int width, int clusters)
    {
        var sums = new double[clusters * width];
        for (int vector = 0; vector < count; vector++)
        {
            for (int i = 0; i < width; i++)
            {
                sums[(owner[vector] * width) + i] += unit[(vector * width) + i];
            }
        }

        return sums;
    }

    /// <summary>Rows of length 1; a row of zeros stays.</summary>
    private static double[] Unit(double[] rows, int count, int width)
    {
        var unit = new double[rows.Length];
        for (int row = 0; row < count; row++)
        {
            ReadOnlySpan<double> values = rows.AsSpan(row * width, width);
            double length = Math.Sqrt(Dot(values, values));
            for (int i = 0; i < width; i++)
            {
                unit[(row * width) + i] = length > 0 ? values[i] / length : 0;
            }
        }

        return unit;
    }

    private static double Dot(ReadOnlySpan<double> x, ReadOnlySpan<double> y)
    {
        double sum = 0;
        for (int i = 0; i < x.Length; i++)
        {
            sum += x[i] * y[i];
        }

        return sum;
    }
}
