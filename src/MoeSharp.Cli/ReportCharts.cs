using System.Globalization;

namespace MoeSharp.Cli;

/// <summary>Turns the numbers of a run into chart descriptions.</summary>
internal static class ReportCharts
{
    private const string StepLabel = "step";

    /// <summary>Training and validation loss with the yardsticks as reference lines.</summary>
    /// <remarks>
    /// The first steps fall from 8 bits per byte; with yardsticks present the axis ends a little above the weakest of them, because the
    /// interesting part is below.
    /// </remarks>
    public static LineChart Loss(ReportData data)
    {
        List<ReferenceLine> references = [.. data.Yardsticks.Where(row => !row.IsModel).Select(row => new ReferenceLine(row.Name, row.BitsPerByte))];
        double highest = references.Select(line => line.Value).Where(double.IsFinite).DefaultIfEmpty(double.NaN).Max();
        return new LineChart
        {
            Title = "Bits per byte over the run",
            XLabel = StepLabel,
            YLabel = "bits per byte",
            Width = 1140,
            Height = 400,
            References = references,
            YLimit = double.IsFinite(highest) ? highest * 1.12 : null,
            Series =
            [
                new("training batch", [.. data.Steps.Select(s => new ChartPoint(s.Step, s.BitsPerByte))], 0, Faint: true),
                new("validation text", [.. data.Evaluations.Select(e => new ChartPoint(e.Step, e.BitsPerByte))], 1, Markers: true),
            ],
        };
    }

    /// <summary>Null share per token class at the last evaluation.</summary>
    public static BarChart ClassBars(ReportData data)
    {
        IReadOnlyList<double> last = data.Evaluations[^1].NullShareByClass;
        return new BarChart
        {
            Title = "Null slots by kind of byte, last evaluation",
            XLabel = "share of null slots",
            Bars = [.. data.Classes.Select((name, i) => new ChartBar(name, i < last.Count ? last[i] : double.NaN, i))],
            Reference = data.NullTarget is double target ? new("configured", target) : null,
        };
    }

    /// <summary>Null share per token class over the run.</summary>
    public static LineChart ClassesOverTime(ReportData data) => new()
    {
        Title = "Null slots by kind of byte, over the run",
        XLabel = StepLabel,
        YLabel = "null slots, %",
        YInclude = [0],
        References = Target(data),
        Series =
        [
            .. data.Classes.Select((name, i) => new ChartSeries(
                name,
                [.. data.Evaluations.Select(e => new ChartPoint(e.Step, 100 * At(e.NullShareByClass, i)))],
                i,
                Markers: data.Evaluations.Count <= 12)),
        ],
    };

    /// <summary>Null share per layer over the run.</summary>
    public static LineChart NullShareByLayer(ReportData data) => new()
    {
        Title = "Null slots by layer",
        XLabel = StepLabel,
        YLabel = "null slots, %",
        References = Target(data),
        Series =
        [
            .. Layers(data).Select(layer => new ChartSeries(
                LayerName(layer), [.. data.Steps.Select(s => new ChartPoint(s.Step, 100 * At(s.NullShare, layer)))], layer)),
        ],
    };

    /// <summary>Mean real experts per token and layer over the run.</summary>
    public static LineChart RealExperts(ReportData data) => new()
    {
        Title = "Real experts per token, over the run",
        XLabel = StepLabel,
        YLabel = "real experts",
        YInclude = [0],
        Series =
        [
            .. Layers(data).Select(layer => new ChartSeries(
                LayerName(layer), [.. data.Steps.Select(s => new ChartPoint(s.Step, At(s.RealExperts, layer)))], layer)),
        ],
    };

    /// <summary>Mean real experts per token at the last evaluation that has them, layers by token classes; null when none has.</summary>
    public static MatrixChart? RealExpertsByClass(ReportData data) =>
        data.Evaluations.LastOrDefault(e => e.RealExperts.Count > 0) is not { } last ? null : new MatrixChart
        {
            Title = "Real experts per token, by layer and kind of byte",
            Rows = [.. last.RealExperts.Select((_, layer) => LayerName(layer))],
            Columns = data.Classes,
            Values = last.RealExperts,
            Full = data.Slots,
        };

    /// <summary>One heat map per layer: experts by token classes, each cell the share of the class's slots over an even share. None when the run did not record it.</summary>
    public static IEnumerable<HeatMap> ExpertsOfClasses(ReportData data)
    {
        int classes = data.Classes.Count;
        IReadOnlyList<IReadOnlyList<double>> layers = data.Evaluations.LastOrDefault(e => e.ExpertSlots.Count > 0)?.ExpertSlots ?? [];
        for (int layer = 0; layer < layers.Count; layer++)
        {
            IReadOnlyList<double> slots = layers[layer];
            int experts = slots.Count / classes;
            double[] sums = [.. Enumerable.Range(0, classes).Select(kind => Enumerable.Range(0, experts).Sum(expert => slots[(expert * classes) + kind]))];
            yield return new HeatMap
            {
                Title = $"Experts by kind of byte, {LayerName(layer)}",
                XLabel = "kind of byte, last evaluation",
                YLabel = "expert",
                Columns = [.. Enumerable.Range(0, classes).Select(kind => (double)kind)],
                ColumnNames = data.Classes,
                Rows =
                [
                    .. Enumerable.Range(0, experts).Select(expert => (IReadOnlyList<double>)
                        [.. sums.Select((sum, kind) => sum == 0 ? double.NaN : slots[(expert * classes) + kind] / sum * experts)]),
                ],
            };
        }
    }

    /// <summary>Largest expert load over the mean, per layer.</summary>
    public static LineChart LoadBalance(ReportData data) => new()
    {
        Title = "Busiest expert by layer",
        XLabel = StepLabel,
        YLabel = "load / fair share",
        YInclude = [1],
        References = [new("perfect balance", 1)],
        Series =
        [
            .. Layers(data).Select(layer => new ChartSeries(
                LayerName(layer), [.. data.Steps.Select(s => new ChartPoint(s.Step, MaxOverMean(s, layer)))], layer)),
        ],
    };

    /// <summary>One heat map per layer: experts over time, each cell the ratio to the fair share.</summary>
    public static IEnumerable<HeatMap> ExpertLoad(ReportData data)
    {
        List<ReportStep> steps = [.. data.Steps.Where(s => s.ExpertLoad.Count > 0)];
        int layers = steps.Count == 0 ? 0 : steps.Max(s => s.ExpertLoad.Count);
        for (int layer = 0; layer < layers; layer++)
        {
            int at = layer;
            int experts = steps.Max(s => at < s.ExpertLoad.Count ? s.ExpertLoad[at].Count : 0);
            yield return new HeatMap
            {
                Title = $"Expert load, {LayerName(layer)}",
                XLabel = StepLabel,
                YLabel = "expert",
                Columns = [.. steps.Select(s => (double)s.Step)],
                Rows =
                [
                    .. Enumerable.Range(0, experts).Select(expert => (IReadOnlyList<double>)
                        [.. steps.Select(s => at < s.ExpertLoad.Count ? At(s.ExpertLoad[at], expert) * experts : double.NaN)]),
                ],
            };
        }
    }

    /// <summary>Learning rate over the run.</summary>
    public static LineChart LearningRate(ReportData data) =>
        Simple(data, "Learning rate", "learning rate", step => step.LearningRate, 0);

    /// <summary>Gradient norm over the run.</summary>
    public static LineChart GradientNorm(ReportData data) =>
        Simple(data, "Gradient norm before clipping", "norm", step => step.GradientNorm, 2);

    /// <summary>Throughput over the run.</summary>
    public static LineChart Throughput(ReportData data) =>
        Simple(data, "Throughput", "tokens per second", step => step.TokensPerSecond, 6);

    /// <summary>Largest over mean load of a layer's experts at a step; NaN without load.</summary>
    public static double MaxOverMean(ReportStep step, int layer)
    {
        if (layer >= step.ExpertLoad.Count || step.ExpertLoad[layer].Count == 0)
        {
            return double.NaN;
        }

        IReadOnlyList<double> load = step.ExpertLoad[layer];
        double mean = load.Average();
        return mean > 0 ? load.Max() / mean : double.NaN;
    }

    /// <summary>Name of a layer in legends.</summary>
    public static string LayerName(int layer) => "layer " + layer.ToString(CultureInfo.InvariantCulture);

    private static LineChart Simple(ReportData data, string title, string unit, Func<ReportStep, double> value, int color) => new()
    {
        Title = title,
        XLabel = StepLabel,
        YLabel = unit,
        Height = 250,
        YInclude = [0],
        Series = [new(title.ToLowerInvariant(), [.. data.Steps.Select(s => new ChartPoint(s.Step, value(s)))], color)],
    };

    private static IReadOnlyList<ReferenceLine> Target(ReportData data) =>
        data.NullTarget is double target ? [new("configured", 100 * target)] : [];

    private static IEnumerable<int> Layers(ReportData data) =>
        Enumerable.Range(0, data.Steps.Count == 0 ? 0 : data.Steps.Max(s => Math.Max(s.NullShare.Count, s.ExpertLoad.Count)));

    private static double At(IReadOnlyList<double> values, int index) => index < values.Count ? values[index] : double.NaN;
}
