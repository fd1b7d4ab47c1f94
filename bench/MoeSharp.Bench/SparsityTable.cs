using System.Globalization;
using System.Text;
using MoeSharp.Cpu;
using MoeSharp.Profiling;

namespace MoeSharp.Bench;

/// <summary>Time of experts + combine against rho at equal K: the claim that null slots cost nothing, as one table.</summary>
/// <remarks>The values of rho take turns (<see cref="Rounds"/>); ratios are to rho = 1 of the same round.</remarks>
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
            double[][] forward = Rounds.Measure(rounds, [.. fixtures.Select(fixture => (Action)(() => Forward(fixture)))]);
            double[][] backward = Rounds.Measure(rounds, [.. fixtures.Select(fixture => (Action)(() => Backward(fixture)))]);
            var text = new StringBuilder();
            text.Append(CultureInfo.InvariantCulture, $"T={tokens} d={hidden} n={width} E={experts} K={topK}, fp32, {backend.Threads} threads, median of {rounds} rounds\n\n");
            text.Append("| rho | real rows R | forward ms | forward GFLOP/s | t/t(rho=1) | backward ms | backward GFLOP/s | t/t(rho=1) |\n");
            text.Append("|---|---|---|---|---|---|---|---|\n");
            for (int i = 0; i < s_rhos.Length; i++)
            {
                double flops = 6.0 * fixtures[i].Rows * hidden * width;
                double f = Rounds.Median(forward[i]), b = Rounds.Median(backward[i]);
                double ratioF = Rounds.Ratio(forward[i], forward[0]);
                double ratioB = Rounds.Ratio(backward[i], backward[0]);
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
}
