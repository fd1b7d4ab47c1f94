using MoeSharp.Autograd;

namespace MoeSharp.Experiments;

/// <summary>Null experts where one sequence holds two modalities.</summary>
internal sealed class SceneStudy : Study
{
    private const int Experts = 16;
    private const int ExpertWidth = 32;
    private const int Hidden = 64;
    private const int Layers = 2;
    private const string Pictured = "k4-rho0.5";

    /// <inheritdoc/>
    public override string Name => "scenes";

    /// <inheritdoc/>
    public override string Title => "Pictures and captions in one sequence";

    /// <inheritdoc/>
    public override string Description =>
        "The program draws scenes of one or two shapes on an empty ground, cuts them into 36 patches, most of them blank, and follows them by a caption that names colour and form in "
        + "reading order. One transformer of two layers of width 64 with 16 experts of width 32 reads both and is trained to write the caption, from scenes it sees once. "
        + "Losses are bits per character of the caption.";

    /// <inheritdoc/>
    public override string LossName => "bits per character";

    /// <inheritdoc/>
    public override IReadOnlyList<Setting> Settings { get; } =
    [
        .. NullFamily.Training(300, 100, 4e-3, [0.005, 0.02, 0.1, 0.5, 2], [0.02]).Where(setting => setting.Name != "null_rate"),
        Setting.Whole("batch", 8, 8, "scenes per step"),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<Column> Columns { get; } =
    [
        new("exact", "captions all right", "P0"), .. SceneTrainer.Kinds.Select(kind => new Column("real_" + kind, "experts " + kind)),
        .. SceneTrainer.Kinds.Select(kind => new Column("null_" + kind, "null " + kind, "P0")), new("all_null", "tokens without expert", "P0"), new("balance", "balance loss"),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<Arm> Arms(SettingValues settings) => NullArm.Family(Experts, ExpertWidth, settings.List("balance_weights"), variants: false);

    /// <inheritdoc/>
    public override CellResult Run(CellContext cell)
    {
        var moe = new MoeOptions { Hidden = Hidden, ExpertWidth = cell.Arm.ExpertWidth, Router = cell.Arm.Router };
        using var model = new SceneModel(cell.Backend, moe, Layers, cell.Seed);
        var training = new SceneTraining(cell.Settings.Int("steps"), cell.Settings.Int("batch"), cell.Settings["learning_rate"], cell.BalanceWeight);
        return SceneTrainer.Run(model, training, cell.Seed, cell.Stop);
    }

    /// <inheritdoc/>
    public override IEnumerable<Claim> Claims(StudyResults results)
    {
        foreach (Claim claim in NullFamily.LossClaims(results, LossName))
        {
            yield return claim;
        }

        ArmResult method = results[Pictured];
        yield return Claim.Positive(
            $"Picture patches get fewer real experts than text: compute moves between the modalities by itself ({method.Arm.Label}).",
            "null share of all patches minus that of text", [.. method.Cells.Select(cell => PatchNull(cell) - cell["null_text"])], "P1");
        yield return Claim.Positive(
            $"Blank patches get fewer real experts than patches with a shape ({method.Arm.Label}).",
            "null share of blank patches minus that of shape patches", [.. method.Cells.Select(cell => cell["null_blank"] - cell["null_shape"])], "P1");
    }

    /// <inheritdoc/>
    public override IEnumerable<Figure> Figures(StudyResults results)
    {
        yield return NullFamily.Frontier(results, "scenes-training-loss", "Scenes: training loss against measured compute", Metric.TrainLoss, "bits per character, last tenth of training");
        yield return NullFamily.Frontier(results, "scenes-loss", "Scenes: held-out loss against measured compute", Metric.Loss, "bits per character");
        yield return new BarsFigure(
            "scenes-null", "Null share by modality", "The share of slots that cost nothing, of blank patches, patches with a shape, and characters of the caption.",
            "share of slots that are null", "P0", SceneTrainer.Kinds,
            [.. NullFamily.Methods.Select(name => results[name]).Select(arm => (arm.Arm.Label, (IReadOnlyList<Spread>)[.. SceneTrainer.Kinds.Select(kind => arm.Of("null_" + kind))]))]);
        yield return Picture(results[Pictured]);
        foreach (Figure figure in SweepFigure.Of(results, "scenes-sweep", LossName))
        {
            yield return figure;
        }
    }

    /// <inheritdoc/>
    public override TimedShape? Timed(Arm arm, SettingValues settings) => new(Hidden, arm.ExpertWidth, Experts, arm.Router.TopK);

    private static double PatchNull(CellResult cell)
    {
        // real_KIND is a mean over tokens of a kind; the drawn share of the patches is what joins the two.
        double drawn = cell["patches_drawn"];
        return (drawn * cell["null_shape"]) + ((1 - drawn) * cell["null_blank"]);
    }

    private static ScenesFigure Picture(ArmResult arm)
    {
        CellResult cell = arm.Cells[0];
        var scenes = new Scenes(ExperimentRunner.FirstSeed);
        return new ScenesFigure(
            "scenes-picture", "What the model spends where",
            $"Scenes of the evaluation and their captions ({arm.Arm.Label}, first seed). On the right each patch, and below each character, is shaded by its real experts, mean over layers; no shade is no expert at all.",
            $"real experts per token, of {arm.Arm.Router.TopK} slots", arm.Arm.Router.TopK,
            [.. Enumerable.Range(0, SceneTrainer.Pictured).Select(i => Shaded(scenes.Draw(Scenes.EvaluationStart + (ulong)i), cell.Series[$"scene_{i}_real"]))]);
    }

    private static ShadedScene Shaded(Scene scene, IReadOnlyList<double> real) => new(
        Scenes.Size, [.. scene.Pixels.Select(value => (double)value)], Scenes.Patches, [.. real.Take(SceneModel.PatchCount)],
        scene.Caption[..scene.Written], [.. real.Skip(SceneModel.PatchCount).Take(scene.Written)]);
}
