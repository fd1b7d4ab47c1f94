namespace MoeSharp.Experiments;

/// <summary>The picture of a sweep: tuning loss of every arm over the balance weights.</summary>
internal static class SweepFigure
{
    /// <summary>One picture, or none when nothing was swept. Weights are drawn evenly spaced in order, because 0 has no place on a logarithmic axis.</summary>
    public static IEnumerable<Figure> Of(StudyResults results, string name, string lossName)
    {
        double[] weights = [.. results.Arms.SelectMany(arm => arm.Sweep).Select(point => point.Weight).Distinct().Order()];
        if (weights.Length == 0)
        {
            yield break;
        }

        yield return new LinesFigure(
            name, "How much the balance weight decides",
            "Mean over the tuning seeds. A comparison at one common weight would favour whichever arm it suits; so every arm is evaluated at its own best weight, chosen here.",
            "balance weight", $"{lossName} on tuning seeds",
            [.. results.Arms.Where(arm => arm.Sweep.Count > 1).Select((arm, i) => (
                arm.Arm.Label, (IReadOnlyList<(double, double)>)[.. arm.Sweep.Select(point => (1.0 + Array.IndexOf(weights, point.Weight), point.Loss.Mean))], i))],
            [.. weights.Select(weight => ExperimentConfig.Text([weight]))]);
    }
}
