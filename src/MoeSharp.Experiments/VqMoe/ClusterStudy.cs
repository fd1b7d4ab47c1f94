using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>VQMoE on clusters: routing under noise, both branches, and the codes alone with half the experts.</summary>
internal sealed class ClusterStudy : Study
{
    private const int Experts = 16;
    private const int ExpertWidth = 16;
    private const string Routed = "top2", One = "top1", Both = "vq", Alone = "codes";

    /// <summary>Prefixes of the numbers after the second stretch of training, and before it with the router gone.</summary>
    private const string Tuned = "tuned_", Dropped = "dropped_";

    /// <inheritdoc/>
    public override string Name => "clusters";

    /// <inheritdoc/>
    public override string Title => "Points around sixteen centres";

    /// <inheritdoc/>
    public override string Description =>
        "Classification of an endless stream of points in 16 dimensions: 16 clusters, each with a linear rule of its own for 8 classes, so that the cluster says which expert is wanted and not the "
        + "answer. 16 experts of width 16, 16 codes: the task has as many clusters as there are codes, which suits the method. Every arm is trained, evaluated, and trained on for a shorter stretch: "
        + "VQMoE drops its router first and keeps codebook and codes fixed, so one expert per token is left; the routed arms keep their router, frozen, which is the control for the extra steps. "
        + "\"Codes from the start\" never had a router. Noise is added to the points at evaluation only. The expert of a token is that of its code, or the router's first.";

    /// <inheritdoc/>
    public override string LossName => "held-out cross-entropy";

    /// <inheritdoc/>
    public override IReadOnlyList<Setting> Settings { get; } =
    [
        Setting.Whole("steps", 1200, 120, "optimizer steps of the first stretch"),
        Setting.Whole("more_steps", 300, 40, "optimizer steps of the second stretch"),
        Setting.Whole("tokens", 384, 256, "fresh points per step"),
        Setting.Real("learning_rate", 3e-3, 3e-3, "peak learning rate of the first stretch, falling to a tenth", 1e-6, 1),
        Setting.Real("more_learning_rate", 1e-3, 1e-3, "that of the second stretch", 1e-6, 1),
        Setting.List("balance_weights", [0, 0.01, 0.1, 1], [0.01], "weights of the balance loss that every arm with a router is tuned over", 0, 100),
        Setting.Real("code_weight", 0.08, 0.08, "weight of the loss of the codebook", 0, 100),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<Column> Columns { get; } =
    [
        new("accuracy", "accuracy", "P1"), new("accuracy_noise", "accuracy, noise .4", "P1"), new("flips", "expert changes, noise .4", "P2"),
        new("set_flips", "any expert changes", "P2"), new("purity", "purity", "P1"), new("live", "live experts", "F1"),
        new(Dropped + "accuracy", "router dropped: accuracy", "P1"), new(Tuned + Metric.RealExperts, "trained on: experts", "F0"),
        new(Tuned + "accuracy", "trained on: accuracy", "P1"), new(Tuned + "accuracy_noise", "trained on: accuracy, noise .4", "P1"),
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<Arm> Arms(SettingValues settings)
    {
        IReadOnlyList<double> weights = settings.List("balance_weights");
        RouterSpec codes = RouterSpec.WithCodes(Experts, topK: 1);
        return
        [
            Make(Routed, "top-2 router", ArmRole.Baseline, new() { Experts = Experts, TopK = 2, Renormalize = Renormalize.Chosen }, weights),
            Make(Both, "VQMoE, router and codes", ArmRole.Method, codes, weights),
            Make(One, "top-1 router", ArmRole.Control, new() { Experts = Experts, TopK = 1, Renormalize = Renormalize.None }, weights),
            Make(Alone, "codes from the start", ArmRole.Control, codes with { Codebook = codes.Codebook! with { DiscreteOnly = true } }, [0]),
        ];
    }

    /// <inheritdoc/>
    public override CellResult Run(CellContext cell)
    {
        var result = new CellResult();
        var task = new ClusterTask(cell.Seed);
        int steps = cell.Settings.Int("steps"), tokens = cell.Settings.Int("tokens");
        var curve = new LossCurve(steps);
        using var model = new ClusterModel(cell.Backend, cell.Arm.Router, cell.Arm.ExpertWidth, cell.Seed);
        new ClusterTraining(0, steps, cell.Settings["learning_rate"], cell.BalanceWeight, cell.Settings["code_weight"], [])
            .Run(cell.Backend, model, task, tokens, curve, cell.Stop);
        curve.Write(result);
        ClusterEvaluation.Of(cell.Backend, model, task, cell.Stop).Write(result, string.Empty, ExpertWidth);

        // Without a router the rest is another layer with the same values; a layer without codes goes on as it is.
        RouterSpec rules = cell.Arm.Router;
        bool drops = rules.Codebook is { DiscreteOnly: false };
        using ClusterModel? dropped = drops ? new ClusterModel(cell.Backend, rules with { Codebook = rules.Codebook! with { DiscreteOnly = true } }, cell.Arm.ExpertWidth, cell.Seed) : null;
        dropped?.TakeFrom(model);
        ClusterModel rest = dropped ?? model;
        if (drops)
        {
            ClusterEvaluation.Of(cell.Backend, rest, task, cell.Stop).Write(result, Dropped, ExpertWidth);
        }

        int more = cell.Settings.Int("more_steps");
        new ClusterTraining(steps, more, cell.Settings["more_learning_rate"], 0, 0, ["moe.gate.", ".codebook"])
            .Run(cell.Backend, rest, task, tokens, new LossCurve(more), cell.Stop);
        ClusterEvaluation.Of(cell.Backend, rest, task, cell.Stop).Write(result, Tuned, ExpertWidth);
        return result;
    }

    /// <inheritdoc/>
    public override IEnumerable<Claim> Claims(StudyResults results)
    {
        ArmResult routed = results[Routed], both = results[Both], alone = results[Alone];
        yield return Difference(
            "Codes keep their expert under noise where a router changes it.", "changes of the expert under noise 0.4, top-2 router minus VQMoE",
            routed, "flips", both, "flips", "P2");
        yield return Difference(
            "The whole set of a token's experts is more stable with codes (router and code together against both experts of the router).",
            "changes of any expert under noise 0.4, top-2 router minus VQMoE", routed, "set_flips", both, "set_flips", "P2");
        yield return Difference("Codes send a cluster to one expert more purely than a router.", "purity of VQMoE minus that of the top-2 router", both, "purity", routed, "purity", "P2");
        yield return Claim.Lower(
            "VQMoE with both branches has a lower loss than a top-2 router at equal experts per token.", both, routed, Metric.Loss, LossName, atEqualCompute: true);
        yield return Claim.Positive(
            "VQMoE with both branches is more robust: noise costs it a smaller share of its accuracy than it costs a top-2 router (the paper's abstract: 28 %, measured in a way that we do not know).",
            "share of the accuracy lost to noise 0.4, top-2 router minus VQMoE", [.. both.Cells.Zip(routed.Cells, (a, b) => Lost(b) - Lost(a))], "P2",
            $"Accuracy {Percent(both, "accuracy")} and {Percent(both, "accuracy_noise")} under noise, the router's {Percent(routed, "accuracy")} and {Percent(routed, "accuracy_noise")}.");
        yield return Difference(
            "With the router dropped and trained on, the codes alone match a top-2 router that was not trained on, with half the experts per token.",
            "accuracy of the codes minus that of the top-2 router", both, Tuned + "accuracy", routed, "accuracy", "P2");
        yield return Difference(
            "They match a top-2 router that had the same extra training (the control).", "accuracy of the codes minus that of the top-2 router, both trained on",
            both, Tuned + "accuracy", routed, Tuned + "accuracy", "P2");
        yield return Difference(
            "Under noise they match it too.", "accuracy under noise 0.4 of the codes minus that of the top-2 router, both trained on",
            both, Tuned + "accuracy_noise", routed, Tuned + "accuracy_noise", "P2");
        yield return Difference(
            "The router was worth training: codes that had one beside them end above codes from the start, at equal steps and experts.",
            "accuracy of VQMoE's codes minus that of codes from the start, both trained on", both, Tuned + "accuracy", alone, Tuned + "accuracy", "P2");
        yield return Difference(
            "At one expert per token, VQMoE's codes end above a top-1 router with the same extra training.",
            "accuracy of VQMoE's codes minus that of the top-1 router, both trained on", both, Tuned + "accuracy", results[One], Tuned + "accuracy", "P2");
    }

    /// <inheritdoc/>
    public override IEnumerable<Figure> Figures(StudyResults results)
    {
        yield return new LinesFigure(
            "clusters-flips", "How often noise changes the expert of a token",
            "Mean over seeds, after the first stretch of training. The expert is that of the code, or the router's first.", "deviation of the noise", "share of tokens",
            [.. results.Arms.Select((arm, i) => (arm.Arm.Label, Curve(arm, "flip_curve"), i))], []);
        yield return new LinesFigure(
            "clusters-accuracy", "Accuracy under noise, before and after the router is dropped",
            "Mean over seeds. \"Trained on\" had the second stretch of training: the top-2 router frozen, VQMoE on its codes alone with one expert per token instead of two.",
            "deviation of the noise", "accuracy",
            [
                ("top-2 router", Curve(results[Routed], "accuracies"), 0), ("VQMoE, both branches", Curve(results[Both], "accuracies"), 1),
                ("top-2 router, trained on", Curve(results[Routed], Tuned + "accuracies"), 2), ("VQMoE's codes, trained on", Curve(results[Both], Tuned + "accuracies"), 3),
            ],
            []);
        yield return new BarsFigure(
            "clusters-accuracy-by-experts", "Accuracy at the end and experts per token",
            "After both stretches of training; bars are one standard deviation over seeds. Only the top-2 router still uses two experts per token.", "accuracy", "P1", ["clean", "noise 0.4"],
            [.. results.Arms.Select(arm => ($"{arm.Arm.Label} ({arm.Of(Tuned + Metric.RealExperts).Mean:F0})", (IReadOnlyList<Spread>)[arm.Of(Tuned + "accuracy"), arm.Of(Tuned + "accuracy_noise")]))]);
        foreach (Figure figure in SweepFigure.Of(results, "clusters-sweep", LossName))
        {
            yield return figure;
        }
    }

    /// <inheritdoc/>
    public override TimedShape? Timed(Arm arm, SettingValues settings) => new(ClusterModel.Hidden, arm.ExpertWidth, Experts, arm.Router.Codebook is { DiscreteOnly: false } ? 2 : arm.Router.TopK);

    private static Arm Make(string name, string label, ArmRole role, RouterSpec router, IReadOnlyList<double> weights) =>
        new() { Name = name, Label = label, Role = role, Router = router, ExpertWidth = ExpertWidth, Weights = weights };

    /// <summary>A claim that the first number is above the second, seed by seed.</summary>
    private static Claim Difference(string statement, string quantity, ArmResult above, string metric, ArmResult below, string otherMetric, string format) => Claim.Positive(
        statement, quantity, [.. above.Cells.Zip(below.Cells, (a, b) => a[metric] - b[otherMetric])], format,
        $"{above.Arm.Label} {Percent(above, metric)}, {below.Arm.Label} {Percent(below, otherMetric)}.");

    private static double Lost(CellResult cell) => 1 - (cell["accuracy_noise"] / cell["accuracy"]);

    private static string Percent(ArmResult arm, string metric)
    {
        Spread spread = arm.Of(metric);
        return FormattableString.Invariant($"{100 * spread.Mean:F2} ± {100 * spread.Deviation:F2} %");
    }

    private static IReadOnlyList<(double X, double Y)> Curve(ArmResult arm, string series) =>
        [.. ClusterEvaluation.Deviations.Select((deviation, i) => (deviation, arm.Cells.Average(cell => cell.Series[series][i])))];
}
