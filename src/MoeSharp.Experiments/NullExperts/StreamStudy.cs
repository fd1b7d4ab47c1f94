namespace MoeSharp.Experiments;

/// <summary>Null experts on the stream of easy and hard tokens, with every control.</summary>
internal sealed class StreamStudy : Study
{
    private const int Experts = 16;
    private const int ExpertWidth = 16;

    /// <inheritdoc/>
    public override string Name => "stream";

    /// <inheritdoc/>
    public override string Title => "A stream of easy and hard tokens";

    /// <inheritdoc/>
    public override string Description =>
        "Regression on an endless stream: 75 % of the tokens follow one linear map, which the model's linear path can learn alone; 25 % lie in one of 16 clusters, each "
        + "with a small network of its own. 16 experts of width 16; a marker tells easy from hard. The stream is built to suit the method: here it should win if it works at all. "
        + "\"raw weights\" does not renormalise the combine weights over the chosen real experts; \"held\" adds the null-rate controller, which moves the choice alone to keep rho.";

    /// <inheritdoc/>
    public override string LossName => "held-out MSE";

    /// <inheritdoc/>
    public override IReadOnlyList<Setting> Settings { get; } =
    [
        .. NullFamily.Training(1000, 250, 3e-3, [0, 0.01, 0.05, 0.2], [0.05, 0.2]),
        Setting.Whole("tokens", 384, 384, "fresh tokens per step"),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<Column> Columns { get; } =
    [
        new("loss_hard", "MSE hard", "F4"), new("loss_easy", "MSE easy", "F4"), new("real_hard", "experts hard"), new("real_easy", "experts easy"),
        new("all_null", "tokens without expert", "P0"), new("balance", "balance loss"),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<Arm> Arms(SettingValues settings) => NullArm.Family(Experts, ExpertWidth, settings.List("balance_weights"), variants: true);

    /// <inheritdoc/>
    public override CellResult Run(CellContext cell)
    {
        var arm = (NullArm)cell.Arm;
        using var model = new MixedStreamModel(cell.Backend, arm.Router, arm.ExpertWidth, cell.Seed);
        var training = new MixedStreamTraining(
            cell.Settings.Int("steps"), cell.Settings.Int("tokens"), cell.Settings["learning_rate"], cell.BalanceWeight,
            arm.IsControlled ? cell.Settings["null_rate"] : 0, arm.Rho);
        return MixedStreamTrainer.Run(cell.Backend, model, training, cell.Seed, cell.Stop);
    }

    /// <inheritdoc/>
    public override IEnumerable<Claim> Claims(StudyResults results)
    {
        foreach (Claim claim in NullFamily.LossClaims(results, LossName))
        {
            yield return claim;
        }

        ArmResult method = results["k4-rho0.5"], raw = results["k4-rho0.5-raw"], held = results["k4-rho0.5-held"];
        yield return Claim.Positive(
            $"Hard tokens get more real experts than easy ones without being told to ({method.Arm.Label}).",
            "real experts of hard tokens minus those of easy ones",
            [.. method.Cells.Select(cell => cell["real_hard"] - cell["real_easy"])], "F2");
        yield return Claim.Lower(
            "Renormalising over the chosen real experts lowers the loss (a control).", method, raw, Metric.Loss, LossName, atEqualCompute: false);
        yield return Claim.Lower(
            $"{held.Arm.Label}, with the compute held by the controller, has a lower loss than {results[NullFamily.Baseline].Arm.Label} at equal measured compute.",
            held, results[NullFamily.Baseline], Metric.Loss, LossName, atEqualCompute: true);
    }

    /// <inheritdoc/>
    public override IEnumerable<Figure> Figures(StudyResults results)
    {
        yield return NullFamily.Frontier(results, "stream-loss", "Easy and hard tokens: held-out error against measured compute", Metric.Loss, "mean squared error");
        yield return new BarsFigure(
            "stream-experts", "Real experts per token, easy and hard",
            "A model without null slots spends the same on every token. Bars are one standard deviation over seeds.",
            "real experts per token", "F2", MixedStream.Kinds,
            [.. results.Arms.Select(arm => (arm.Arm.Label, (IReadOnlyList<Spread>)[arm.Of("real_easy"), arm.Of("real_hard")]))]);
        foreach (Figure figure in SweepFigure.Of(results, "stream-sweep", LossName))
        {
            yield return figure;
        }
    }

    /// <inheritdoc/>
    public override TimedShape? Timed(Arm arm, SettingValues settings) => new(MixedStream.Width, arm.ExpertWidth, Experts, arm.Router.TopK);
}
