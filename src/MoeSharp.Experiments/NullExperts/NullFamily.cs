namespace MoeSharp.Experiments;

/// <summary>Names of the arms that every study of the null-expert experiment has, and the claims and pictures that they share.</summary>
internal static class NullFamily
{
    /// <summary>Two slots, all real: what the others are compared with.</summary>
    public const string Baseline = "k2-rho1";

    /// <summary>Three slots, all real: half as much compute again.</summary>
    public const string MoreCompute = "k3-rho1";

    /// <summary>The arms with null slots, rho falling.</summary>
    public static readonly string[] Methods = ["k3-rho0.67", "k4-rho0.5", "k8-rho0.25"];

    /// <summary>Balance weights, steps and learning rate.</summary>
    public static IReadOnlyList<Setting> Training(int steps, int quickSteps, double learningRate, double[] weights, double[] quickWeights) =>
    [
        Setting.Whole("steps", steps, quickSteps, "optimizer steps of a cell"),
        Setting.Real("learning_rate", learningRate, learningRate, "peak learning rate, falling to a tenth", 1e-6, 1),
        Setting.List("balance_weights", weights, quickWeights, "weights of the balance loss that every arm is tuned over", 0, 100),
        Setting.Real("null_rate", 0.05, 0.05, "rate of the null-rate controller, for the arms that are held", 1e-6, 10),
    ];

    /// <summary>The claims about loss at equal compute.</summary>
    public static IEnumerable<Claim> LossClaims(StudyResults results, string lossName)
    {
        ArmResult baseline = results[Baseline];
        foreach (string name in Methods)
        {
            ArmResult method = results[name];
            yield return Claim.Lower(
                $"{method.Arm.Label} has a lower loss than {baseline.Arm.Label} at equal measured compute.", method, baseline, Metric.Loss, lossName, atEqualCompute: true);
        }

        // Arms share seeds, so the claim is decided by the mean slope over the four arms of each seed.
        ArmResult[] family = [baseline, .. Methods.Select(name => results[name])];
        double[] slopes = [.. Enumerable.Range(0, baseline.Cells.Count).Select(seed => Slope([.. family.Select(arm => arm.Cells[seed][Metric.TrainLoss])]))];
        bool everyStep = family.Zip(family.Skip(1)).All(pair => pair.Second.Of(Metric.TrainLoss).Mean < pair.First.Of(Metric.TrainLoss).Mean);
        string order = string.Join(", ", family.Select(arm => $"{arm.Arm.Label} {Claim.Number(arm.Of(Metric.TrainLoss))} at {arm.Of(Metric.RealExperts).Mean.ToString("F2", System.Globalization.CultureInfo.InvariantCulture)} real experts"));
        Claim falls = Claim.Positive(
            "Training loss falls with every step down in rho (1, .67, .5, .25) at equal expected compute.",
            "mean fall per step, relative to the loss at rho = 1", slopes, "P1", $"Training loss: {order}.");
        yield return falls.Outcome != Outcome.Reproduced || everyStep ? falls : falls with
        {
            Outcome = Outcome.NotReproduced, Evidence = falls.Evidence + " It falls on the whole, but not at every step.",
        };
        ArmResult more = results[MoreCompute], best = results[Methods[1]];
        yield return Claim.Lower(
            $"{best.Arm.Label} does at two real experts at least what {more.Arm.Label} does at three (a control: is it the compute?).",
            best, more, Metric.Loss, lossName, atEqualCompute: false);
    }

    /// <summary>Loss against measured compute, one point per arm.</summary>
    public static ScatterFigure Frontier(StudyResults results, string name, string title, string metric, string yLabel)
    {
        string[] joined = [Baseline, .. Methods];
        ScatterPoint[] points = [.. results.Arms.Select((arm, i) => new ScatterPoint(arm.Arm.Label, arm.Of(Metric.RealExperts), arm.Of(metric), i, arm.Arm.Role == ArmRole.Baseline))];
        int[] line = [.. joined.Select(arm => results.Arms.ToList().FindIndex(result => result.Arm.Name == arm))];
        return new ScatterFigure(
            name, title,
            "Every arm at its own best balance weight; bars are one standard deviation over seeds. The line joins the arms that are meant to use two real experts, rho falling from 1 to .25; lower is better, further left is cheaper.",
            "measured real experts per token and layer", yLabel, points, [line]);
    }

    // Least-squares slope of the loss over the number of steps down, negated and relative to the first.
    private static double Slope(double[] losses)
    {
        double middle = (losses.Length - 1) / 2.0;
        double up = losses.Select((loss, i) => (i - middle) * loss).Sum();
        double down = losses.Select((_, i) => (i - middle) * (i - middle)).Sum();
        return -(up / down) / losses[0];
    }
}
