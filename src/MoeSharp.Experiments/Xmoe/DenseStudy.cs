using System.Globalization;
using MoeSharp.Compression;
using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Experiments;

/// <summary>A dense model split into experts, trained on with all of them, run with fewer.</summary>
internal sealed class DenseStudy : Study
{
    private const string Baseline = "dense";
    private const string Split16 = "split-16";
    private const string Split32 = "split-32";
    private const string Contiguous = "split-32-contiguous";

    // Text of the second half of the training, which the first has not seen; evaluation text belongs to it.
    private const ulong SecondHalf = 1_000_000;

    /// <inheritdoc/>
    public override string Name => "dense";

    /// <inheritdoc/>
    public override string Title => "A dense model, split, run at a lower threshold";

    /// <inheritdoc/>
    public override string Description =>
        XmoeText.Description + " A dense model is trained for half of the steps. The baseline goes on dense. The others are split into 16 or 32 experts, which computes the same, go on with every expert active and weighed by "
        + "its probability (t = 1), and are evaluated at lower t without further training.";

    /// <inheritdoc/>
    public override string LossName => "bits per byte at t = 1";

    /// <inheritdoc/>
    public override IReadOnlyList<Setting> Settings { get; } =
    [
        .. XmoeText.Training(400, 120, [0.01, 0.1], [0.01]),
        Setting.List("thresholds", [0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3], [0.9, 0.7, 0.5, 0.3], "probability masses of the evaluation, beside 1", 0.001, 1),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<Column> Columns { get; } =
    [
        .. ((double[])[0.9, 0.7, 0.5]).SelectMany(mass => new Column[] { new(Loss(mass), $"bits at {mass.ToString(CultureInfo.InvariantCulture)}"), new(Width(mass), $"width at {mass.ToString(CultureInfo.InvariantCulture)}", "F0") }),
        new("balance", "balance loss"),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<Arm> Arms(SettingValues settings)
    {
        IReadOnlyList<double> weights = settings.List("balance_weights");
        return
        [
            Make(Baseline, "dense", 1, [0], ArmRole.Baseline),
            Make(Split16, "split 16×32", 16, weights, ArmRole.Method),
            Make(Split32, "split 32×16", 32, weights, ArmRole.Method),
            Make(Contiguous, "split 32×16 contiguous", 32, weights, ArmRole.Control),
        ];
    }

    /// <inheritdoc/>
    public override CellResult Run(CellContext cell)
    {
        int steps = cell.Settings.Int("steps");
        ulong second = cell.Seed + SecondHalf;
        using var dense = new Transformer(cell.Backend, XmoeText.Dense(cell.Settings), cell.Seed);
        LanguageTraining first = XmoeText.Of(cell, steps / 2), rest = XmoeText.Of(cell, steps - (steps / 2));
        _ = LanguageTrainer.Run(dense, first, cell.Seed, cell.Stop);
        if (cell.Arm.Name == Baseline)
        {
            CellResult trained = LanguageTrainer.Run(dense, rest, second, cell.Stop);
            trained[Metric.Width] = WidthArm.TotalWidth;
            trained[Metric.RealExperts] = 1;
            return trained;
        }

        NeuronPartition partition = cell.Arm.Name == Contiguous ? NeuronPartition.Contiguous : NeuronPartition.Clustered;
        using Transformer split = DenseSplit.Split(dense, cell.Arm.Router.Experts, partition);
        CellResult result = LanguageTrainer.Run(split, rest, second, cell.Stop);
        foreach (double mass in cell.Settings.List("thresholds"))
        {
            foreach (Autograd.MoeLayer layer in split.MoeLayers)
            {
                layer.Router.SetThreshold(mass);
            }

            var lowered = new CellResult();
            LanguageTrainer.Evaluate(split, second, rest.Batch, lowered, cell.Stop);
            (result[Loss(mass)], result[Width(mass)]) = (lowered[Metric.Loss], lowered[Metric.Width]);
        }

        return result;
    }

    /// <inheritdoc/>
    public override IEnumerable<Claim> Claims(StudyResults results)
    {
        ArmResult dense = results[Baseline];
        foreach (string name in (string[])[Split16, Split32])
        {
            ArmResult split = results[name];
            double[] lowered = [.. results.Settings.List("thresholds").OrderDescending()];
            double nine = lowered.FirstOrDefault(mass => mass <= 0.9, lowered[^1]);
            yield return Claim.Positive(
                $"{split.Arm.Label} keeps its loss within 1 % when t is lowered from 1 to {Number(nine)} after training.", "1 % minus the relative rise of the loss",
                [.. split.Cells.Select(cell => 0.01 - ((cell[Loss(nine)] - cell[Metric.Loss]) / cell[Metric.Loss]))], "P1", At(split, nine));

            // The dearest threshold that keeps to a quarter of the width, or the lowest when none does.
            double quarter = lowered.FirstOrDefault(mass => split.Of(Width(mass)).Mean <= 0.25 * WidthArm.TotalWidth * ArmResult.Tolerance, lowered[^1]);
            bool within = split.Of(Width(quarter)).Mean <= 0.25 * WidthArm.TotalWidth * ArmResult.Tolerance;
            Claim claim = Claim.Positive(
                $"{split.Arm.Label} with about a quarter of the FLOPs has a lower loss than the dense model.", "bits per byte are lower by",
                [.. split.Cells.Select((cell, seed) => (dense.Cells[seed][Metric.Loss] - cell[Loss(quarter)]) / dense.Cells[seed][Metric.Loss])], "P1",
                $"Dense {Claim.Number(dense.Of(Metric.Loss))}. {At(split, quarter)}");
            yield return within || claim.Outcome != Outcome.Reproduced ? claim
                : claim with { Outcome = Outcome.NotReproduced, Evidence = claim.Evidence + " No threshold kept to a quarter." };
        }

        ArmResult clustered = results[Split32], contiguous = results[Contiguous];
        double half = results.Settings.List("thresholds").MinBy(mass => Math.Abs(mass - 0.7));
        yield return Claim.Positive(
            $"Experts of neurons that look at similar directions do better at t = {Number(half)} than experts of neighbours (a control).", "bits per byte are lower by",
            [.. clustered.Cells.Select((cell, seed) => (contiguous.Cells[seed][Loss(half)] - cell[Loss(half)]) / contiguous.Cells[seed][Loss(half)])], "P1",
            $"{At(clustered, half)} {At(contiguous, half)}");
    }

    /// <inheritdoc/>
    public override IEnumerable<Figure> Figures(StudyResults results)
    {
        var points = new List<ScatterPoint>();
        var lines = new List<IReadOnlyList<int>>();
        ArmResult dense = results[Baseline];
        points.Add(new ScatterPoint("dense", dense.Of(Metric.Width), dense.Of(Metric.Loss), 0, IsBaseline: true));
        foreach ((ArmResult arm, int color) in results.Arms.Where(arm => arm.Arm.Name != Baseline).Select((arm, i) => (arm, i + 1)))
        {
            int start = points.Count;
            points.Add(new ScatterPoint($"{arm.Arm.Label}, t=1", arm.Of(Metric.Width), arm.Of(Metric.Loss), color));
            points.AddRange(results.Settings.List("thresholds").OrderDescending().Select(mass => new ScatterPoint($"{Number(mass)}", arm.Of(Width(mass)), arm.Of(Loss(mass)), color)));
            lines.Add([.. Enumerable.Range(start, points.Count - start)]);
        }

        yield return new ScatterFigure(
            "dense-threshold", "Split models at lower thresholds", "Each line is one trained model per seed, evaluated at t from 1 (right) down (left). Bars are one standard deviation over seeds.",
            "measured width per token and layer", "bits per byte", points, lines);
        foreach (Figure figure in SweepFigure.Of(results, "dense-sweep", LossName))
        {
            yield return figure;
        }
    }

    private static string Loss(double mass) => $"loss_t{Number(mass)}";

    private static string Width(double mass) => $"width_t{Number(mass)}";

    private static string Number(double value) => value.ToString(CultureInfo.InvariantCulture);

    private static string At(ArmResult arm, double mass) => string.Create(
        CultureInfo.InvariantCulture,
        $"{arm.Arm.Label}: {Claim.Number(arm.Of(Metric.Loss))} at t = 1, {Claim.Number(arm.Of(Loss(mass)))} at t = {mass} with {arm.Of(Width(mass)).Mean / WidthArm.TotalWidth:P0} of the width.");

    private static Arm Make(string name, string label, int experts, IReadOnlyList<double> weights, ArmRole role) => new()
    {
        Name = name, Label = label, Role = role, Router = RouterSpec.WithThreshold(experts, 1, experts), ExpertWidth = WidthArm.TotalWidth / experts, Weights = weights,
    };
}
