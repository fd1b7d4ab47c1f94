using System.Globalization;

namespace MoeSharp.Experiments;

/// <summary>What fixed top-k reaches at any width: the curve that a threshold router is held against.</summary>
/// <remarks>A threshold router uses whatever width it uses. So its loss is compared, seed by seed, with that of the top-k arms of the same granularity at that very width.</remarks>
internal static class WidthFrontier
{
    /// <summary>Loss at a width on one seed: linear in the logarithm of the width between two arms, beyond all of them that of the nearest.</summary>
    /// <param name="arms">Arms in ascending order of width.</param>
    /// <param name="seed">Number of the seed.</param>
    /// <param name="width">Measured width per token.</param>
    public static double LossAt(IReadOnlyList<ArmResult> arms, int seed, double width)
    {
        (double Width, double Loss)[] points = [.. arms.Select(arm => (arm.Cells[seed][Metric.Width], arm.Cells[seed][Metric.Loss]))];
        if (width <= points[0].Width)
        {
            return points[0].Loss;
        }

        for (int i = 1; i < points.Length; i++)
        {
            if (width <= points[i].Width)
            {
                double share = Math.Log(width / points[i - 1].Width) / Math.Log(points[i].Width / points[i - 1].Width);
                return points[i - 1].Loss + (share * (points[i].Loss - points[i - 1].Loss));
            }
        }

        return points[^1].Loss;
    }

    /// <summary>Whether an arm's loss is below the curve.</summary>
    public static Claim IsBeaten(ArmResult method, IReadOnlyList<ArmResult> arms, string lossName)
    {
        double[] relative =
        [
            .. method.Cells.Select((cell, seed) =>
            {
                double other = LossAt(arms, seed, cell[Metric.Width]);
                return (other - cell[Metric.Loss]) / other;
            }),
        ];
        Spread width = method.Of(Metric.Width);
        (Spread least, Spread most) = (arms[0].Of(Metric.Width), arms[^1].Of(Metric.Width));
        string outside = width.Mean > most.Mean ? $" It is wider than every top-k arm, so it is held against the widest of them, {most.Mean:F0}."
            : width.Mean < least.Mean ? $" It is narrower than every top-k arm, so it is held against the narrowest of them, {least.Mean:F0}." : string.Empty;
        string context = string.Create(
            CultureInfo.InvariantCulture, $"{method.Arm.Label} {Claim.Number(method.Of(Metric.Loss))} {lossName} at a measured width of {Claim.Number(width)} of {WidthArm.TotalWidth}.{outside}");
        return Claim.Positive(
            $"{method.Arm.Label} has a lower loss than fixed top-k of the same experts at equal measured width.", $"relative fall of the {lossName}", relative, "P1", context);
    }
}
