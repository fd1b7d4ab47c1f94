using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Experiments;

/// <summary>Null experts in a small language model on text of four kinds.</summary>
internal sealed class TextStudy : Study
{
    private const int Experts = 16;
    private const int ExpertWidth = 32;
    private const int Hidden = 64;
    private const int Layers = 2;

    /// <inheritdoc/>
    public override string Name => "text";

    /// <inheritdoc/>
    public override string Title => "A language model on text of four kinds";

    /// <inheritdoc/>
    public override string Description =>
        "A byte-level transformer of two layers of width 64, 16 experts of width 32, on text that the program writes in paragraphs of one kind: prose with a grammar, code, sums that "
        + "can be computed, and noise in which there is nothing to learn. Nothing tells the model which is which. Trained on one text, evaluated on another of the same kinds.";

    /// <inheritdoc/>
    public override string LossName => "bits per byte";

    /// <inheritdoc/>
    public override IReadOnlyList<Setting> Settings { get; } =
    [
        .. NullFamily.Training(400, 100, 5e-3, [0.005, 0.02, 0.1, 0.5, 2], [0.02]),
        Setting.Whole("batch", 8, 8, "windows per step"),
        Setting.Whole("context", 64, 64, "bytes of a window", low: 2),
        Setting.Whole("train_bytes", 400_000, 100_000, "length of the training text", low: 1000),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<Column> Columns { get; } =
    [
        .. MixedText.Kinds.Select(kind => new Column("bits_" + kind, "bits " + kind)), .. MixedText.Kinds.Select(kind => new Column("null_" + kind, "null " + kind, "P0")),
        new("all_null", "tokens without expert", "P0"), new("balance", "balance loss"),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<Arm> Arms(SettingValues settings) => NullArm.Family(Experts, ExpertWidth, settings.List("balance_weights"), variants: false);

    /// <inheritdoc/>
    public override CellResult Run(CellContext cell)
    {
        var arm = (NullArm)cell.Arm;
        using var model = new Transformer(cell.Backend, Config(arm, cell.Settings.Int("context")), cell.Seed);
        var training = new LanguageTraining(
            cell.Settings.Int("steps"), cell.Settings.Int("batch"), cell.Settings["learning_rate"], cell.BalanceWeight, cell.Settings.Int("train_bytes"),
            arm.IsControlled ? cell.Settings["null_rate"] : 0);
        return LanguageTrainer.Run(model, training, cell.Seed, cell.Stop);
    }

    /// <inheritdoc/>
    public override IEnumerable<Claim> Claims(StudyResults results)
    {
        foreach (Claim claim in NullFamily.LossClaims(results, LossName))
        {
            yield return claim;
        }

        ArmResult method = results["k4-rho0.5"];
        yield return Claim.Positive(
            $"Noise, in which there is nothing to learn, gets fewer real experts than the rest ({method.Arm.Label}).",
            "mean real experts of prose, code and sums minus those of noise",
            [.. method.Cells.Select(cell => ((cell["real_prose"] + cell["real_code"] + cell["real_sums"]) / 3) - cell["real_noise"])], "F2");
    }

    /// <inheritdoc/>
    public override IEnumerable<Figure> Figures(StudyResults results)
    {
        yield return NullFamily.Frontier(results, "text-loss", "Text: held-out bits per byte against measured compute", Metric.Loss, "bits per byte");
        yield return new BarsFigure(
            "text-null", "Null share by kind of text", "The share of slots that cost nothing. Bars are one standard deviation over seeds.",
            "share of slots that are null", "P0", MixedText.Kinds,
            [.. NullFamily.Methods.Select(name => results[name]).Select(arm => (arm.Arm.Label, (IReadOnlyList<Spread>)[.. MixedText.Kinds.Select(kind => arm.Of("null_" + kind))]))]);
        foreach (Figure figure in SweepFigure.Of(results, "text-sweep", LossName))
        {
            yield return figure;
        }
    }

    /// <inheritdoc/>
    public override TimedShape? Timed(Arm arm, SettingValues settings) => new(Hidden, arm.ExpertWidth, Experts, arm.Router.TopK);

    private static ModelConfig Config(NullArm arm, int context) => new()
    {
        HiddenSize = Hidden,
        Layers = Layers,
        Heads = 4,
        KeyValueHeads = 2,
        HeadDim = Hidden / 4,
        Experts = Experts,
        ExpertWidth = arm.ExpertWidth,
        TopK = arm.Router.TopK,
        DataSparsity = arm.Rho,
        Renormalize = arm.Router.Renormalize,
        SelectionBias = arm.Router.SelectionBias,
        ContextLength = context,
    };
}
