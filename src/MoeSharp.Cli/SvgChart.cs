using static MoeSharp.Cli.SvgWriter;

namespace MoeSharp.Cli;

/// <summary>Draws line charts as SVG; bars and heat maps are in the other parts.</summary>
/// <remarks>
/// <para>The problem: a report must open anywhere, offline, in light and dark, with nothing beside one file. So charts are inline SVG
/// without scripts, and colours are CSS classes whose variables the page sets per colour scheme.</para>
/// <para>What is difficult: long runs (points are averaged into at most <see cref="MaxPoints"/> buckets), values that are missing or not
/// finite (they break a line and never reach a coordinate), and reference lines a few pixels apart (labels are pushed apart and joined to
/// their line by a leader).</para>
/// </remarks>
internal static partial class SvgChart
{
    /// <summary>Most points per line; more are averaged.</summary>
    public const int MaxPoints = 300;

    /// <summary>Number of series colours in the style sheet.</summary>
    public const int Colors = 8;

    private const double LabelHeight = 14;

    /// <summary>Draws lines.</summary>
    public static string Line(LineChart chart)
    {
        double left = 52;
        double top = 34;
        double right = chart.Width - (chart.References.Count > 0 ? 118 : 14);
        double bottom = chart.Height - 42 - (LegendRows(chart.Series.Select(s => s.Name), chart.Width - left) * 18);
        List<ChartSeries> series = [.. chart.Series.Select(s => s with { Points = Downsample(s.Points, MaxPoints) })];
        IEnumerable<double> yValues = series.SelectMany(s => s.Points).Select(p => p.Y).Concat(chart.YInclude)
            .Concat(chart.References.Select(r => r.Value));
        if (chart.YLimit is double limit)
        {
            yValues = yValues.Select(y => Math.Min(y, limit));
        }

        ChartAxis x = ChartAxis.Over(series.SelectMany(s => s.Points).Select(p => p.X), left, right, 7, toTicks: false);
        ChartAxis y = ChartAxis.Over(yValues, bottom, top, 6);
        SvgWriter svg = Begin(chart.Title, chart.Width, chart.Height);
        Grid(svg, x, y, (left, top, right, bottom), chart.XLabel, chart.YLabel, chart.XNames);
        References(svg, chart.References, y, left, right, top, bottom);
        string clip = "clip" + StableId(chart.Title);
        svg.Open("clipPath", "id", clip)
            .Empty("rect", "x", Number(left), "y", Number(top - 1), "width", Number(right - left + 1), "height", Number(bottom - top + 2))
            .Close();
        svg.Open("g", "clip-path", $"url(#{clip})");
        foreach (ChartSeries line in series)
        {
            DrawLine(svg, line, x, y);
        }

        svg.Close();
        Legend(svg, [.. series.Select(s => (s.Name, ClassOf(s)))], left, chart.Width, bottom + 50);
        return svg.Close().ToString();
    }

    /// <summary>Averages points into at most <paramref name="limit"/> buckets of consecutive points; the last point stays exact.</summary>
    /// <remarks>A bucket without any finite value stays a gap.</remarks>
    public static IReadOnlyList<ChartPoint> Downsample(IReadOnlyList<ChartPoint> points, int limit)
    {
        if (points.Count <= limit)
        {
            return points;
        }

        int inner = points.Count - 1;
        var result = new List<ChartPoint>(limit);
        for (int bucket = 0; bucket < limit - 1; bucket++)
        {
            int from = (int)((long)inner * bucket / (limit - 1));
            int to = (int)((long)inner * (bucket + 1) / (limit - 1));
            (double x, double y, int count) = (0, 0, 0);
            for (int i = from; i < to; i++)
            {
                x += points[i].X;
                if (double.IsFinite(points[i].Y))
                {
                    (y, count) = (y + points[i].Y, count + 1);
                }
            }

            result.Add(new(x / (to - from), count == 0 ? double.NaN : y / count));
        }

        result.Add(points[^1]);
        return result;
    }

    /// <summary>Moves positions apart to at least <paramref name="gap"/>, in order, inside the bounds where they fit.</summary>
    public static double[] Spread(IReadOnlyList<double> sorted, double gap, double low, double high)
    {
        double[] result = [.. sorted];
        for (int i = 0; i < result.Length; i++)
        {
            result[i] = Math.Max(result[i], i == 0 ? low : result[i - 1] + gap);
        }

        for (int i = result.Length - 1; i >= 0; i--)
        {
            result[i] = Math.Min(result[i], i == result.Length - 1 ? high : result[i + 1] - gap);
        }

        return result;
    }

    private static SvgWriter Begin(string title, int width, int height)
    {
        var svg = new SvgWriter();
        svg.Open(
            "svg", "xmlns", "http://www.w3.org/2000/svg", "viewBox", $"0 0 {width} {height}", "role", "img", "aria-label", title,
            "class", width > 800 ? "chart big" : "chart");
        return svg.Leaf("text", title, "x", "0", "y", "16", "class", "title");
    }

    private static void Grid(
        SvgWriter svg, ChartAxis x, ChartAxis y, (double Left, double Top, double Right, double Bottom) frame, string xLabel, string yLabel,
        IReadOnlyList<string>? xNames = null)
    {
        foreach (double tick in y.Ticks())
        {
            string at = Number(y.Pixel(tick));
            svg.Empty("line", "x1", Number(frame.Left), "x2", Number(frame.Right), "y1", at, "y2", at, "class", "grid");
            svg.Leaf("text", y.Label(tick), "x", Number(frame.Left - 7), "y", Number(y.Pixel(tick) + 4), "class", "tick end");
        }

        XTicks(svg, x, frame.Bottom, xNames ?? []);
        svg.Empty(
            "line", "x1", Number(frame.Left), "x2", Number(frame.Right), "y1", Number(frame.Bottom), "y2", Number(frame.Bottom), "class", "axis");
        svg.Leaf("text", xLabel, "x", Number((frame.Left + frame.Right) / 2), "y", Number(frame.Bottom + 33), "class", "label mid");
        double middle = (frame.Top + frame.Bottom) / 2;
        svg.Leaf(
            "text", yLabel, "x", "12", "y", Number(middle), "transform", $"rotate(-90 12 {Number(middle)})", "class", "label mid");
    }

    private static void XTicks(SvgWriter svg, ChartAxis x, double bottom, IReadOnlyList<string> names)
    {
        foreach (double tick in names.Count > 0 ? Enumerable.Range(1, names.Count).Select(i => (double)i) : x.Ticks())
        {
            string at = Number(x.Pixel(tick));
            svg.Empty("line", "x1", at, "x2", at, "y1", Number(bottom), "y2", Number(bottom + 4), "class", "axis");
            svg.Leaf("text", names.Count > 0 ? names[(int)tick - 1] : x.Label(tick), "x", at, "y", Number(bottom + 17), "class", "tick mid");
        }
    }

    private static void References(
        SvgWriter svg, IReadOnlyList<ReferenceLine> lines, ChartAxis y, double left, double right, double top, double bottom)
    {
        List<ReferenceLine> shown =
            [.. lines.Where(r => double.IsFinite(r.Value) && r.Value >= y.Low && r.Value <= y.High).OrderByDescending(r => r.Value)];
        double[] labels = Spread([.. shown.Select(r => y.Pixel(r.Value))], LabelHeight, top, bottom);
        for (int i = 0; i < shown.Count; i++)
        {
            string at = Number(y.Pixel(shown[i].Value));
            svg.Empty("line", "x1", Number(left), "x2", Number(right), "y1", at, "y2", at, "class", "reference");
            svg.Empty("path", "d", $"M{Number(right)} {at}L{Number(right + 10)} {Number(labels[i])}", "class", "leader");
            svg.Leaf("text", shown[i].Name, "x", Number(right + 13), "y", Number(labels[i] + 4), "class", "tick");
        }
    }

    private static void DrawLine(SvgWriter svg, ChartSeries line, ChartAxis x, ChartAxis y)
    {
        var path = new System.Text.StringBuilder();
        bool pen = false;
        foreach (ChartPoint point in line.Points)
        {
            if (!double.IsFinite(point.X) || !double.IsFinite(point.Y))
            {
                pen = false;
                continue;
            }

            path.Append(pen ? 'L' : 'M').Append(Number(x.Pixel(point.X))).Append(' ').Append(Number(y.Pixel(point.Y)));
            pen = true;
        }

        if (path.Length > 0)
        {
            svg.Empty("path", "d", path.ToString(), "class", ClassOf(line));
        }

        // A path of a single point draws nothing, so points get dots where they are few or stand alone.
        if (line.Markers || line.Points.Count == 1)
        {
            foreach (ChartPoint point in line.Points.Where(p => double.IsFinite(p.X) && double.IsFinite(p.Y)))
            {
                string dot = line.Points.Count > 60 ? "1.5" : "2.5";
                svg.Empty(
                    "circle", "cx", Number(x.Pixel(point.X)), "cy", Number(y.Pixel(point.Y)), "r", dot, "class", $"f{line.Color % Colors}");
            }
        }
    }

    private static string ClassOf(ChartSeries line) =>
        $"line s{line.Color % Colors}{(line.Faint ? " faint" : string.Empty)}{(line.Color >= Colors ? " dashed" : string.Empty)}";

    private static void Legend(SvgWriter svg, IReadOnlyList<(string Name, string Class)> entries, double left, double width, double top)
    {
        (double x, double y) = (left, top);
        foreach ((string name, string style) in entries)
        {
            double advance = LegendWidth(name);
            if (x + advance > width && x > left)
            {
                (x, y) = (left, y + 18);
            }

            svg.Empty("line", "x1", Number(x), "x2", Number(x + 16), "y1", Number(y), "y2", Number(y), "class", style + " key");
            svg.Leaf("text", name, "x", Number(x + 21), "y", Number(y + 4), "class", "tick");
            x += advance;
        }
    }

    private static int LegendRows(IEnumerable<string> names, double width)
    {
        (int rows, double x) = (1, 0);
        foreach (string name in names)
        {
            double advance = LegendWidth(name);
            if (x + advance > width && x > 0)
            {
                (rows, x) = (rows + 1, 0);
            }

            x += advance;
        }

        return rows;
    }

    // 6.4 px is the mean advance of the 11.5 px interface font, rounded up.
    private static double LegendWidth(string name) => 21 + (name.Length * 6.4) + 14;

    // Ids must differ between charts of a page and be the same in every run.
    private static string StableId(string title)
    {
        uint hash = 2166136261;
        foreach (char c in title)
        {
            hash = (hash ^ c) * 16777619;
        }

        return hash.ToString("x8", System.Globalization.CultureInfo.InvariantCulture);
    }
}
