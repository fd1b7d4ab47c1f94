using MoeSharp.Core;

namespace MoeSharp.Profiling;

/// <summary>Expert ids drawn at random instead of learnt, so that rho, K and the shape can be varied one at a time.</summary>
internal static class RoutingDraw
{
    private const int Attempts = 64;

    /// <summary>Ids [T, K]: each slot is real with probability rho; a token never has an expert twice; -1 is a null slot.</summary>
    /// <remarks>Experts are drawn from the distribution and drawn again when the token has them already; a token that keeps missing takes the next free one.</remarks>
    public static int[] Ids(ProfileShape shape)
    {
        (int experts, int topK) = (shape.Experts, shape.TopK);
        double[] cumulative = Cumulative(shape);
        var random = new CounterRandom(2, 0);
        ulong counter = 0;
        var ids = new int[checked(shape.Tokens * topK)];
        for (int t = 0; t < shape.Tokens; t++)
        {
            Span<int> mine = ids.AsSpan(t * topK, topK);
            for (int k = 0; k < topK; k++)
            {
                mine[k] = random.Uniform(counter++) < shape.Rho ? Draw(mine[..k]) : -1;
            }
        }

        return ids;

        int Draw(ReadOnlySpan<int> taken)
        {
            for (int attempt = 0; attempt < Attempts; attempt++)
            {
                int found = Array.BinarySearch(cumulative, random.Uniform(counter++) * cumulative[^1]);
                int expert = Math.Min(found < 0 ? ~found : found + 1, experts - 1);
                if (!taken.Contains(expert))
                {
                    return expert;
                }
            }

            int free = 0;
            while (taken.Contains(free))
            {
                free++;
            }

            return free;
        }
    }

    private static double[] Cumulative(ProfileShape shape)
    {
        var sums = new double[shape.Experts];
        double sum = 0;
        for (int e = 0; e < sums.Length; e++)
        {
            sum += shape.Distribution switch
            {
                RoutingDistribution.Zipf => 1.0 / (e + 1),
                RoutingDistribution.Hot => e == 0 ? Math.Max(shape.Experts - 1, 1) : 1,
                RoutingDistribution.HalfEmpty => e < Math.Max(shape.Experts / 2, shape.TopK) ? 1 : 0,
                _ => 1,
            };
            sums[e] = sum;
        }

        return sums;
    }
}
