using System.Diagnostics;
using System.Globalization;
using System.Text;
using MoeSharp.Cpu;
using MoeSharp.Profiling;

namespace MoeSharp.Bench;

/// <summary>Time of experts + combine against rho at equal K: the claim that null slots cost nothing, as one table.</summary>
/// <remarks>
/// The problem: the machine is shared, so absolute times are noise. The choice: all values of rho are measured in turn within a round,
/// every round gives a ratio to its own rho = 1, and the table shows medians of times and of ratios.
/// </remarks>
public static class SparsityTable
{
    private static readonly double[] s_rhos = [1.0, 0.75, 0.5, 0.25];

    /// <summary>Measures and returns Markdown.</summary>
    public static string Measure(int tokens, int hidden, int width, int experts, int topK, int rounds)
    {
        using var backend = new CpuBackend();
        ProfiledLayer[] fixtures = [.. s_rhos.Select(rho => new ProfiledLayer(backend, new ProfileShape("sparsity", tokens, hidden, width, experts, topK, rho)))];
        try
        {
            var forward = new double[s_rhos.Length][];
            var backward = new double[s_rhos.Length][];
            for (int i = 0; i < s_rhos.Length; i++)
            {
                forward[i] = new double[rounds];
                backward[i] = new double[rounds];
                Forward(fixtures[i]);
                Backward(fixtures[i]);
            }

            for (int round = 0; round < rounds; round++)
            {
                for (int i = 0; i < s_rhos.Length; i++)
                {
                    forward[i][round] = Time(Forward, fixtures[i]);
                    backward[i][round] = Time(Backward, fixtures[i]);
                }
            }

            var text = new StringBuilder();
            text.Append(CultureInfo.InvariantCulture, $"T={tokens} d={hidden} n={width} E={experts} K={topK}, fp32, {backend.Threads} threads, median of {rounds} rounds\n\n");
            text.Append("| rho | real rows R | forward ms | forward GFLOP/s | t/t(rho=1) | backward ms | backward GFLOP/s | t/t(rho=1) |\n");
            text.Append("|---|---|---|---|---|---|---|---|\n");
            for (int i = 0; i < s_rhos.Length; i++)
            {
                double flops = 6.0 * fixtures[i].Rows * hidden * width;
                double f = Median(forward[i]), b = Median(backward[i]);
                double ratioF = Median([.. forward[i].Zip(forward[0], (x, y) => x / y)]);
                double ratioB = Median([.. backward[i].Zip(backward[0], (x, y) => x / y)]);
                text.Append(CultureInfo.InvariantCulture, $"| {s_rhos[i]} | {fixtures[i].Rows} | {f * 1e3:F1} | {flops / f / 1e9:F0} | {ratioF:F2} | {b * 1e3:F1} | {2 * flops / b / 1e9:F0} | {ratioB:F2} |\n");
            }

            return text.ToString();
        }
        finally
        {
            foreach (ProfiledLayer fixture in fixtures)
            {
                fixture.Dispose();
            }
        }
    }

    private static void Forward(ProfiledLayer fixture)
    {
        fixture.ExpertsForward();
        fixture.Combine();
    }

    private static void Backward(ProfiledLayer fixture)
    {
        fixture.ExpertsBackward();
        fixture.CombineBackward();
    }

    private static double Time(Action<ProfiledLayer> action, ProfiledLayer fixture)
    {
        long start = Stopwatch.GetTimestamp();
        action(fixture);
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static double Median(double[] values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
