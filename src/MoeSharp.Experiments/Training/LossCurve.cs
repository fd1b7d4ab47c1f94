namespace MoeSharp.Experiments;

/// <summary>Training losses, averaged over stretches of steps.</summary>
internal sealed class LossCurve(int steps)
{
    /// <summary>Stretches of a curve.</summary>
    public const int Points = 50;

    private readonly List<double> _losses = new(steps);

    /// <summary>Adds the loss of a step.</summary>
    public void Add(double loss) => _losses.Add(loss);

    /// <summary>Writes train_loss, the mean over the last tenth of the steps, and the series curve.</summary>
    public void Write(CellResult result)
    {
        int last = Math.Max(1, _losses.Count / 10);
        result[Metric.TrainLoss] = _losses.TakeLast(last).Average();
        result.Series["curve"] = [.. _losses.Chunk(Math.Max(1, (_losses.Count + Points - 1) / Points)).Select(stretch => Math.Round(stretch.Average(), 5))];
    }
}
