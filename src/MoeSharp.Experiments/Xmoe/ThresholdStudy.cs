using System.Globalization;
using MoeSharp.Models;

namespace MoeSharp.Experiments;

/// <summary>Threshold routing against fixed top-k at every granularity of one total width.</summary>
internal sealed class ThresholdStudy : Study
{
    private static readonly int[] s_granularities = [8, 16, 32];
    private static readonly int[] s_widths = [32, 64, 128, 256];

    /// <inheritdoc/>
    public override string Name => "threshold";

    /// <inheritdoc/>
    public override string Title => "Threshold routing against top-k, at every granularity";

    /// <inheritdoc/>
    public override string Description =>
        XmoeText.Description + " The 512 are divided among 8, 16 or 32 experts. top-1 8×64 is the Switch baseline. An arm \"t=\" takes the fewest experts whose probabilities reach t. Width per token is the mean "
        + "number of experts times their width: compute is proportional to it.";

    /// <inheritdoc/>
    public override string LossName => "bits per byte";

    /// <inheritdoc/>
    public override IReadOnlyList<Setting> Settings { get; } =
    [
        .. XmoeText.Training(250, 80, [0.01, 0.1], [0.01]),
        Setting.List("thresholds", [0.3, 0.9], [0.3, 0.9], "probability masses of the threshold arms", 0.001, 1),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<Column> Columns { get; } =
    [
        new(Metric.Width, "width per token", "F1"), .. MixedText.Kinds.Select(kind => new Column("bits_" + kind, "bits " + kind)),
        .. MixedText.Kinds.Select(kind => new Column("real_" + kind, "experts " + kind)), new("balance", "balance loss"),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<Arm> Arms(SettingValues settings)
    {
        IReadOnlyList<double> weights = settings.List("balance_weights");
        return
        [
            .. s_granularities.SelectMany(experts => TopK(experts).Select(k => WidthArm.TopK(experts, k, weights, ArmRole.Baseline))),
            .. s_granularities.SelectMany(experts => settings.List("thresholds").Select(mass => WidthArm.Threshold(experts, mass, weights))),
            WidthArm.TopK(32, 4, weights, ArmRole.Control, renormalize: true),
        ];
    }

    /// <inheritdoc/>
    public override CellResult Run(CellContext cell)
    {
        using var model = new Transformer(cell.Backend, ((WidthArm)cell.Arm).Config(XmoeText.Dense(cell.Settings)), cell.Seed);
        return LanguageTrainer.Run(model, XmoeText.Of(cell, cell.Settings.Int("steps")), cell.Seed, cell.Stop);
    }

    /// <inheritdoc/>
    public override IEnumerable<Claim> Claims(StudyResults results)
    {
        foreach (ArmResult method in Methods(results))
        {
            yield return WidthFrontier.IsBeaten(method, Frontier(results, method.Arm.Router.Experts), LossName);
        }

        ArmResult one = results["top1-8x64"], fine = results["top2-32x16"];
        foreach (ArmResult method in Methods(results).Where(method => method.Arm.Router.Experts == 32))
        {
            yield return HalfOfSwitch(method, one);
        }

        yield return HalfOfSwitch(fine, one);
        ArmResult best = Methods(results).MinBy(method => method.Of(Metric.Loss).Mean)!;
        yield return Claim.Positive(
            $"The threshold gives more experts to tokens from which something can be learnt than to noise ({best.Arm.Label}).",
            "mean experts of prose, code and sums minus those of noise",
            [.. best.Cells.Select(cell => ((cell["real_prose"] + cell["real_code"] + cell["real_sums"]) / 3) - cell["real_noise"])], "F2");
        ArmResult raw = results["top4-32x16"], renormalised = results["top4-32x16-renorm"];
        yield return Claim.Lower(
            "Raw probabilities as weights do better than renormalised ones (a control: the paper never renormalises).", raw, renormalised, Metric.Loss, LossName, atEqualCompute: false);
    }

    /// <inheritdoc/>
    public override IEnumerable<Figure> Figures(StudyResults results)
    {
        yield return Scatter(results, "threshold-width", "Held-out bits per byte against measured width", "measured width per token and layer", arm => arm.Of(Metric.Width));
        if (results.Timings.Count > 0)
        {
            yield return Scatter(
                results, "threshold-time", "Held-out bits per byte against the time of the expert part", $"µs of the expert part, forward, {TimedShape.Tokens} tokens",
                arm => new Spread(results.Timings.First(timing => timing.Arm.Name == arm.Arm.Name).Microseconds, double.NaN, 1));
        }

        yield return new BarsFigure(
            "threshold-kinds", "Width per token by kind of text",
            "A threshold router takes many experts where its probabilities are flat, that is where it is undecided. Bars are one standard deviation over seeds.",
            "width per token", "F0", MixedText.Kinds,
            [.. Methods(results).Select(arm => (arm.Arm.Label, (IReadOnlyList<Spread>)[.. MixedText.Kinds.Select(kind => Spread.Of([.. arm.Values("real_" + kind).Select(real => real * arm.Arm.ExpertWidth)]))]))]);
        foreach (Figure figure in SweepFigure.Of(results, "threshold-sweep", LossName))
        {
            yield return figure;
        }
    }

    /// <inheritdoc/>
    public override TimedShape? Timed(Arm arm, SettingValues settings) => new(XmoeText.Hidden, arm.ExpertWidth, arm.Router.Experts, arm.Router.TopK);

    private static IEnumerable<int> TopK(int experts) => s_widths.Select(width => width * experts / WidthArm.TotalWidth).Where(k => k >= 1);

    private static IEnumerable<ArmResult> Methods(StudyResults results) => results.Arms.Where(arm => arm.Arm.Role == ArmRole.Method);

    private static ArmResult[] Frontier(StudyResults results, int experts) =>
        [.. results.Arms.Where(arm => arm.Arm.Role == ArmRole.Baseline && arm.Arm.Router.Experts == experts).OrderBy(arm => arm.Arm.Router.TopK)];

    private static Claim HalfOfSwitch(ArmResult method, ArmResult other)
    {
        double share = method.Of(Metric.Width).Mean / other.Of(Metric.Width).Mean;
        Claim claim = Claim.Lower(
            $"{method.Arm.Label} has a lower loss than {other.Arm.Label} with at most half of its FLOPs.", method, other, Metric.Loss, "bits per byte", atEqualCompute: false);
        string evidence = string.Create(CultureInfo.InvariantCulture, $"{claim.Evidence} It used {share:P0} of the width.");
        return claim with { Evidence = evidence, Outcome = claim.Outcome == Outcome.Reproduced && share > 0.5 ? Outcome.NotReproduced : claim.Outcome };
    }

    private static ScatterFigure Scatter(StudyResults results, string name, string title, string xLabel, Func<ArmResult, Spread> x)
    {
        List<ArmResult> arms = [.. results.Arms];
        ScatterPoint[] points = [.. arms.Select(arm => new ScatterPoint(arm.Arm.Label, x(arm), arm.Of(Metric.Loss), Array.IndexOf(s_granularities, arm.Arm.Router.Experts), arm.Arm.Role == ArmRole.Baseline))];
        IReadOnlyList<int>[] lines = [.. s_granularities.Select(experts => (IReadOnlyList<int>)[.. Frontier(results, experts).Select(arm => arms.IndexOf(arm))])];
        return new ScatterFigure(
            name, title, "One colour per granularity. The lines are fixed top-k; a threshold arm below the line of its colour wins, above it top-k does. Every arm at its own best balance weight; bars are one standard deviation over seeds.",
            xLabel, "bits per byte", points, lines);
    }
}
