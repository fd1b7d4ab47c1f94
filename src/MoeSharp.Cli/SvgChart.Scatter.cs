using MoeSharp.Experiments;
using static MoeSharp.Cli.SvgWriter;

namespace MoeSharp.Cli;

/// <summary>Points with bars of one standard deviation, and grouped bars: the pictures of an experiment.</summary>
internal static partial class SvgChart
{
    /// <summary>Draws points with their names in a column at the right, joined to them by leaders: points of one abscissa never hide a name.</summary>
    public static string Scatter(ScatterFigure figure, int width = 600, int height = 350)
    {
        (double left, double top, double right, double bottom) = (58, 34, width - 150, height - 46);
        ChartAxis x = ChartAxis.Over(figure.Points.SelectMany(point => Ends(point.X)), left, right, 7);
        ChartAxis y = ChartAxis.Over(figure.Points.SelectMany(point => Ends(point.Y)), bottom, top, 6);
        SvgWriter svg = Begin(figure.Title, width, height);
        Grid(svg, x, y, (left, top, right, bottom), figure.XLabel, figure.YLabel);
        foreach (IReadOnlyList<int> line in figure.Lines)
        {
            IEnumerable<string> points = line.Select(at => figure.Points[at]).Where(Shown).Select(point => $"{Number(x.Pixel(point.X.Mean))} {Number(y.Pixel(point.Y.Mean))}");
            string path = string.Join('L', points);
            if (path.Length > 0)
            {
                svg.Empty("path", "d", "M" + path, "class", "line joined");
            }
        }

        List<ScatterPoint> sorted = [.. figure.Points.Where(Shown).OrderBy(point => y.Pixel(point.Y.Mean))];
        double[] labels = Spread([.. sorted.Select(point => y.Pixel(point.Y.Mean))], LabelHeight + 1, top, bottom);
        for (int i = 0; i < sorted.Count; i++)
        {
            ScatterPoint point = sorted[i];
            (double px, double py) = (x.Pixel(point.X.Mean), y.Pixel(point.Y.Mean));
            svg.Empty("path", "d", $"M{Number(px + 6)} {Number(py)}L{Number(right + 6)} {Number(labels[i])}", "class", "leader soft");
            string stroke = $"line s{point.Color % Colors}";
            Whisker(svg, point.Y, at => y.Pixel(at), (a, b) => $"M{Number(px)} {Number(a)}V{Number(b)}", stroke);
            Whisker(svg, point.X, at => x.Pixel(at), (a, b) => $"M{Number(a)} {Number(py)}H{Number(b)}", stroke);
            if (point.IsBaseline)
            {
                svg.Empty("rect", "x", Number(px - 4.5), "y", Number(py - 4.5), "width", "9", "height", "9", "class", $"f{point.Color % Colors}");
            }
            else
            {
                svg.Empty("circle", "cx", Number(px), "cy", Number(py), "r", "4.5", "class", $"f{point.Color % Colors}");
            }

            svg.Leaf("text", point.Label, "x", Number(right + 10), "y", Number(labels[i] + 4), "class", "tick ink");
        }

        return svg.Close().ToString();
    }

    /// <summary>Draws horizontal bars in groups.</summary>
    public static string Groups(BarsFigure figure, int width = 560)
    {
        const double BarHeight = 15;
        const double Gap = 12;
        double left = Math.Clamp(16 + (6.6 * figure.Groups.Select(group => group.Name.Length).DefaultIfEmpty().Max()), 110, width / 2.0), right = width - 56, top = 32;
        double groupHeight = (BarHeight * figure.Series.Count) + Gap;
        double bottom = top + (groupHeight * figure.Groups.Count);
        int height = (int)bottom + 46 + (LegendRows(figure.Series, width - left) * 18);
        ChartAxis x = ChartAxis.Over(figure.Groups.SelectMany(group => group.Values).SelectMany(Ends).Append(0), left, right, 6);
        SvgWriter svg = Begin(figure.Title, width, height);
        foreach (double tick in x.Ticks())
        {
            string at = Number(x.Pixel(tick));
            svg.Empty("line", "x1", at, "x2", at, "y1", Number(top), "y2", Number(bottom), "class", "grid");
            svg.Leaf("text", figure.Format[0] == 'P' ? Percent(tick, 0) : x.Label(tick), "x", at, "y", Number(bottom + 16), "class", "tick mid");
        }

        for (int group = 0; group < figure.Groups.Count; group++)
        {
            double groupTop = top + (groupHeight * group) + (Gap / 2);
            svg.Leaf(
                "text", figure.Groups[group].Name, "x", Number(left - 8), "y", Number(groupTop + (BarHeight * figure.Series.Count / 2) + 4), "class", "tick end");
            for (int series = 0; series < figure.Series.Count; series++)
            {
                Spread value = figure.Groups[group].Values[series];
                double barTop = groupTop + (BarHeight * series);
                double zero = x.Pixel(0), end = double.IsFinite(value.Mean) ? x.Pixel(value.Mean) : zero;
                svg.Empty(
                    "rect", "x", Number(Math.Min(zero, end)), "y", Number(barTop + 1), "width", Number(Math.Abs(end - zero)), "height", Number(BarHeight - 3),
                    "class", $"f{series % Colors}");
                double middle = barTop + (BarHeight / 2) - 0.5;
                Whisker(svg, value, at => x.Pixel(at), (a, b) => $"M{Number(a)} {Number(middle)}H{Number(b)}", "whisker");
                double text = Math.Max(end, double.IsFinite(value.Deviation) ? x.Pixel(value.Mean + value.Deviation) : end) + 5;
                svg.Leaf("text", ExperimentText.Value(value.Mean, figure.Format), "x", Number(text), "y", Number(middle + 4), "class", "value");
            }
        }

        svg.Empty("line", "x1", Number(x.Pixel(0)), "x2", Number(x.Pixel(0)), "y1", Number(top), "y2", Number(bottom), "class", "axis");
        svg.Leaf("text", figure.ValueLabel, "x", Number((left + right) / 2), "y", Number(bottom + 33), "class", "label mid");
        Legend(svg, [.. figure.Series.Select((name, i) => (name, $"line s{i % Colors}"))], left, width, bottom + 50);
        return svg.Close().ToString();
    }

    private static bool Shown(ScatterPoint point) => double.IsFinite(point.X.Mean) && double.IsFinite(point.Y.Mean);

    private static IEnumerable<double> Ends(Spread spread) =>
        double.IsFinite(spread.Deviation) ? [spread.Mean - spread.Deviation, spread.Mean + spread.Deviation] : [spread.Mean];

    private static void Whisker(SvgWriter svg, Spread spread, Func<double, double> pixel, Func<double, double, string> path, string style)
    {
        if (double.IsFinite(spread.Mean) && double.IsFinite(spread.Deviation) && spread.Deviation > 0)
        {
            svg.Empty("path", "d", path(pixel(spread.Mean - spread.Deviation), pixel(spread.Mean + spread.Deviation)), "class", style);
        }
    }
}
