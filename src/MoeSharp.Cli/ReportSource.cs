using System.Globalization;
using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Cli;

/// <summary>Turns the files of a run into <see cref="ReportData"/>.</summary>
internal static class ReportSource
{
    private static readonly string[] s_classes = ["letters", "digits", "punctuation", "white space", "indentation", "line ends"];

    /// <summary>Reads a run folder.</summary>
    public static ReportData Read(string folder) =>
        Build(RunFolder.LoadOptions(folder), RunMetrics.Read(RunFolder.MetricsPath(folder)));

    /// <summary>Combines options and metrics.</summary>
    public static ReportData Build(TrainOptions options, RunMetrics metrics)
    {
        ModelConfig config = options.Model;
        EvaluationMetrics? last = metrics.Evaluations.Count > 0 ? metrics.Evaluations[^1] : null;
        return new ReportData
        {
            Name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(options.RunFolder))),
            Summary = Summary(config),
            Figures = Figures(options, metrics, last?.Result),
            Configuration = Configuration(options),
            Steps =
            [
                .. metrics.Train.Select(line => new ReportStep(
                    line.Step, line.TrainBitsPerByte, line.LearningRate, line.GradientNorm, line.TokensPerSecond, line.NullShare, line.ExpertLoad,
                    RealExperts(config, line))),
            ],
            Evaluations = [.. metrics.Evaluations.Select(e => new ReportEvaluation(
                e.Step, e.Result.BitsPerByte, e.Result.NullShareByClass, e.Result.RealExpertsByClass, e.Result.ExpertSlots))],
            Classes = s_classes,
            Yardsticks = Compare(metrics.Final?.Yardsticks ?? [], last?.Result.BitsPerByte ?? double.NaN),
            NullTarget = NullTarget(config),
            Slots = config.TopK,
            Sample = metrics.Final is { } written ? ReportText.From(written.Sample, SampleExperts(config, written)) : ReportText.Empty,
            Excerpt = metrics.Final is { } read ? ReportText.From(read.Excerpt, read.ExcerptRealExperts) : ReportText.Empty,
        };
    }

    /// <summary>One line that describes a model.</summary>
    public static string Summary(ModelConfig config) => string.Create(
        CultureInfo.InvariantCulture,
        $"{config.Layers} layers of width {config.HiddenSize}, {Experts(config)}");

    /// <summary>Configured share of null slots; null for a model without them.</summary>
    /// <remarks>The rounded number of copies decides, because that is the pool the router has.</remarks>
    public static double? NullTarget(ModelConfig config) => config.NullSlots == 0 ? null : 1 - config.DataSparsity;

    /// <summary>Probability mass of a threshold router; null for any other.</summary>
    public static double? Threshold(ModelConfig config) => !config.IsDense && config.Selection == Selection.Threshold ? config.Threshold : null;

    /// <summary>Line about slots that cost nothing: null ones and, where a router need not fill all, empty ones.</summary>
    public static (string Name, string Value) NullSlots(ModelConfig config, double measured) => Threshold(config) is double threshold
        ? ("null or empty slots", $"{SvgChart.Percent(measured, 1)} measured, at threshold {threshold.ToString(CultureInfo.InvariantCulture)}")
        : ("null slots", $"{SvgChart.Percent(measured, 1)} measured, {SvgChart.Percent(NullTarget(config) ?? 0, 1)} configured");

    /// <summary>Model and yardsticks in order of bits per byte; empty without yardsticks.</summary>
    public static IReadOnlyList<ReportYardstick> Compare(IReadOnlyList<YardstickRow> rows, double model) => rows.Count == 0
        ? []
        : [.. rows.Select(row => new ReportYardstick(row.Name, row.BitsPerByte, false)).Append(new("this model", model, true)).OrderBy(row => row.BitsPerByte)];

    /// <summary>Real experts per token of a log line; runs from before it was recorded filled every slot that was not null.</summary>
    private static IReadOnlyList<double> RealExperts(ModelConfig config, TrainMetrics line) =>
        line.RealExperts.Count > 0 ? line.RealExperts : [.. line.NullShare.Select(share => config.TopK * (1 - share))];

    /// <summary>Real experts per layer and byte of the sample; older runs have their mean over layers, as a share of null slots.</summary>
    private static IReadOnlyList<IReadOnlyList<double>> SampleExperts(ModelConfig config, FinalMetrics final) =>
        final.SampleRealExperts.Count > 0 ? final.SampleRealExperts : [[.. final.SampleNullShare.Select(share => config.TopK * (1 - share))]];

    private static ReportFigure[] Figures(TrainOptions options, RunMetrics metrics, EvaluationResult? last)
    {
        ModelConfig config = options.Model;
        long step = metrics.Train.Count > 0 ? metrics.Train[^1].Step : 0;
        double speed = metrics.Final?.TokensPerSecond ?? (metrics.Train.Count > 0 ? metrics.Train[^1].TokensPerSecond : double.NaN);
        ReportFigure[] routing = config.IsDense ? [] : Routing(config, last);
        return
        [
            new("Validation", TextReport.Fixed(last?.BitsPerByte ?? double.NaN, 3), "bits per byte"),
            .. routing,
            new("Steps", TextReport.Count(step), $"of {TextReport.Count(options.Steps)}"),
            new("Throughput", TextReport.Count(speed), "tokens per second"),
        ];
    }

    private static string Experts(ModelConfig config) => config.IsDense
        ? $"dense feed-forward layers of width {config.DenseWidth}, {TextReport.Parameters(config.ParameterCount)} parameters"
        : $"{config.Experts} experts of width {config.ExpertWidth} and {config.NullSlots} null experts, top-{config.TopK}, {TextReport.Parameters(config.ParameterCount)} parameters ({TextReport.Parameters(config.ActiveParameterCount)} active)";

    private static ReportFigure[] Routing(ModelConfig config, EvaluationResult? last)
    {
        ReportFigure[] nulls = NullTarget(config) is double share
            ? [new("Null slots", last is null ? "-" : SvgChart.Percent(last.NullShare, 1), $"configured {SvgChart.Percent(share, 1)}")]
            : [];
        return
        [
            .. nulls,
            new("Real experts per token", TextReport.Fixed(last?.RealExpertsPerToken ?? double.NaN, 2), $"of {config.TopK} slots in each layer"),
        ];
    }

    private static (string, string)[] Configuration(TrainOptions options)
    {
        ModelConfig config = options.Model;
        string scope = options.AccumulationSteps == 1 ? string.Empty : options.BalanceScope == BalanceScope.Step ? " over the step" : " per micro-batch";
        string Number(double value) => value.ToString("0.######", CultureInfo.InvariantCulture);
        (string, string)[] initial = options.InitialModel.Length == 0 ? [] : [("initial model", options.InitialModel)];
        (string, string)[] annealing = Threshold(config) is not double threshold ? [] :
        [
            ("threshold", Number(threshold) + (options.ThresholdSteps > 0 ? $", rising from {Number(options.ThresholdStart)} over {options.ThresholdSteps} steps" : string.Empty)),
        ];
        (string, string)[] layers = config.IsDense ? [("dense feed-forward width", Number(config.DenseWidth))] :
        [
            ("experts", $"{config.Experts} of width {config.ExpertWidth}"),
            ("null experts", $"{config.NullSlots}, kind {JsonReport.Snake(config.NullKind.ToString())}"),
            ("slots per token (top-k)", Number(config.TopK)),
            ("data sparsity rho", Number(config.DataSparsity)),
        ];
        return
        [
            ("preset", options.Preset),
            ("parameters", TextReport.Count(config.ParameterCount)),
            ("active parameters per token", TextReport.Count(config.ActiveParameterCount)),
            ("layers", Number(config.Layers)),
            ("width", Number(config.HiddenSize)),
            ("heads", $"{config.Heads} ({config.KeyValueHeads} for keys and values) of width {config.HeadDim}"),
            ("context", $"{config.ContextLength} bytes"),
            .. layers,
            ("batch", $"{options.BatchSize} sequences x {options.AccumulationSteps}, {TextReport.Count(options.TokensPerStep)} tokens"),
            ("learning rate", $"{Number(options.PeakLearningRate)} to {Number(options.FloorLearningRate)}, {options.WarmupSteps} warm-up steps"),
            ("weight decay, clip norm", $"{Number(options.WeightDecay)}, {Number(options.ClipNorm)}"),
            ("balance, z-loss weight", $"{Number(options.BalanceWeight)}{scope}, {Number(options.ZLossWeight)}"),
            ("null controller rate", Number(options.NullControllerRate)),
            .. annealing,
            .. initial,
            ("seed", options.Seed.ToString(CultureInfo.InvariantCulture)),
            ("device", options.Device),
            ("data", string.Join(", ", options.Data)),
        ];
    }
}
