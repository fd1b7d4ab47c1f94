using System.Diagnostics;

namespace MoeSharp.Bench;

/// <summary>Times of several actions that take turns.</summary>
/// <remarks>
/// The problem: the machine is shared, so absolute times are noise. The choice: every round runs all actions once, a ratio is taken within its
/// own round, and what is shown are medians over the rounds of times and of ratios.
/// </remarks>
internal static class Rounds
{
    /// <summary>Seconds [action, round], after one run of each that is not counted.</summary>
    public static double[][] Measure(int rounds, IReadOnlyList<Action> actions)
    {
        double[][] seconds = [.. actions.Select(_ => new double[rounds])];
        foreach (Action action in actions)
        {
            action();
        }

        for (int round = 0; round < rounds; round++)
        {
            for (int i = 0; i < actions.Count; i++)
            {
                long start = Stopwatch.GetTimestamp();
                actions[i]();
                seconds[i][round] = Stopwatch.GetElapsedTime(start).TotalSeconds;
            }
        }

        return seconds;
    }

    /// <summary>Median of the ratios within the rounds.</summary>
    public static double Ratio(double[] times, double[] reference) => Median([.. times.Zip(reference, (x, y) => x / y)]);

    /// <summary>Median.</summary>
    public static double Median(double[] values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}
