using System.Globalization;
using System.Text;
using static MoeSharp.Cli.SvgWriter;

namespace MoeSharp.Cli;

/// <summary>Bars, heat maps and matrices.</summary>
internal static partial class SvgChart
{
    // Heat levels are half octaves around the fair share: level 0 = 1x, +-2 = 2x and 1/2x, +-4 = 4x and beyond.
    private const int HeatLevels = 4;

    /// <summary>Draws horizontal bars of shares.</summary>
    public static string Bar(BarChart chart)
    {
        const double RowHeight = 30;
        double left = 110;
        double right = chart.Width - 52;
        double top = chart.Reference is null ? 32 : 50;
        double bottom = top + (RowHeight * chart.Bars.Count);
        int height = (int)bottom + 42;
        IEnumerable<double> values = chart.Bars.Select(b => b.Value).Append(0).Append(chart.Reference?.Value ?? 0.1);
        ChartAxis x = ChartAxis.Over(values, left, right, 6);
        SvgWriter svg = Begin(chart.Title, chart.Width, height);
        foreach (double tick in x.Ticks())
        {
            string at = Number(x.Pixel(tick));
            svg.Empty("line", "x1", at, "x2", at, "y1", Number(top), "y2", Number(bottom), "class", "grid");
            svg.Leaf("text", Percent(tick, 0), "x", at, "y", Number(bottom + 16), "class", "tick mid");
        }

        for (int i = 0; i < chart.Bars.Count; i++)
        {
            double end = double.IsFinite(chart.Bars[i].Value) ? x.Pixel(chart.Bars[i].Value) : left;
            double y = top + (RowHeight * i);
            svg.Leaf("text", chart.Bars[i].Name, "x", Number(left - 8), "y", Number(y + (RowHeight / 2) + 4), "class", "tick end");
            svg.Empty(
                "rect", "x", Number(left), "y", Number(y + 5), "width", Number(Math.Max(0, end - left)), "height", Number(RowHeight - 10),
                "class", $"f{chart.Bars[i].Color % Colors}");
        }

        if (chart.Reference is { } reference && double.IsFinite(reference.Value))
        {
            string at = Number(x.Pixel(reference.Value));
            svg.Empty("line", "x1", at, "x2", at, "y1", Number(top - 6), "y2", Number(bottom), "class", "reference");
            svg.Leaf("text", $"{reference.Name} {Percent(reference.Value, 1)}", "x", at, "y", Number(top - 10), "class", "tick mid");
        }

        // Values last: their halo keeps them readable on the reference line.
        for (int i = 0; i < chart.Bars.Count; i++)
        {
            double end = double.IsFinite(chart.Bars[i].Value) ? x.Pixel(chart.Bars[i].Value) : left;
            string value = Percent(chart.Bars[i].Value, 1);
            svg.Leaf("text", value, "x", Number(end + 6), "y", Number(top + (RowHeight * (i + 0.5)) + 4), "class", "value");
        }

        svg.Empty("line", "x1", Number(left), "x2", Number(left), "y1", Number(top), "y2", Number(bottom), "class", "axis");
        svg.Leaf("text", chart.XLabel, "x", Number((left + right) / 2), "y", Number(bottom + 34), "class", "label mid");
        return svg.Close().ToString();
    }

    /// <summary>Draws a heat map: blue below the fair share, orange above, paper at it.</summary>
    /// <remarks>
    /// Cells are quantised to half octaves and all cells of a level are one path, in which equal neighbours are one rectangle: the size
    /// follows the changes in the picture, not the number of cells.
    /// </remarks>
    public static string Heat(HeatMap map)
    {
        const double Left = 52;
        const double Top = 32;
        double right = map.Width - 14;
        double rowHeight = Math.Clamp(180.0 / Math.Max(1, map.Rows.Count), 4, 20);
        double bottom = Top + (rowHeight * map.Rows.Count);
        int height = (int)bottom + 68;
        (IReadOnlyList<double> columns, IReadOnlyList<IReadOnlyList<double>> rows) = Shrink(map.Columns, map.Rows, 150);
        ChartAxis x = ChartAxis.Over(map.Columns, Left, right, 7, toTicks: false);
        SvgWriter svg = Begin(map.Title, map.Width, height);
        svg.Empty(
            "rect", "x", Number(Left), "y", Number(Top), "width", Number(right - Left), "height", Number(bottom - Top), "class", "paper");
        foreach ((int level, string path) in HeatPaths(rows, columns.Count, Left, right, Top, rowHeight))
        {
            svg.Empty("path", "d", path, "class", HeatClass(level), "fill-opacity", HeatOpacity(level));
        }

        if (map.ColumnNames is null)
        {
            XTicks(svg, x, bottom, []);
        }
        else
        {
            ColumnNames(svg, map.ColumnNames, Left, right, bottom);
        }

        int every = Math.Max(1, (int)Math.Ceiling(13 / rowHeight));
        for (int row = 0; row < rows.Count; row += every)
        {
            string name = row.ToString(CultureInfo.InvariantCulture);
            svg.Leaf("text", name, "x", Number(Left - 7), "y", Number(Top + (rowHeight * (row + 0.5)) + 4), "class", "tick end");
        }

        double middle = (Top + bottom) / 2;
        svg.Leaf("text", map.YLabel, "x", "12", "y", Number(middle), "transform", $"rotate(-90 12 {Number(middle)})", "class", "label mid");
        svg.Leaf("text", map.XLabel, "x", Number((Left + right) / 2), "y", Number(bottom + 33), "class", "label mid");
        HeatLegend(svg, Left, bottom + 46);
        return svg.Close().ToString();
    }

    /// <summary>Draws a matrix of numbers; rows too low for a number are shaded only.</summary>
    public static string Matrix(MatrixChart chart)
    {
        const double Left = 72, Top = 32;
        double right = chart.Width - 14, rowHeight = Math.Clamp(640.0 / Math.Max(1, chart.Rows.Count), 6, 28);
        double bottom = Top + (rowHeight * chart.Rows.Count), width = (right - Left) / Math.Max(1, chart.Columns.Count);
        SvgWriter svg = Begin(chart.Title, chart.Width, (int)bottom + 28);
        int every = Math.Max(1, (int)Math.Ceiling(13 / rowHeight));
        for (int row = 0; row < chart.Rows.Count; row++)
        {
            double y = Top + (rowHeight * row), line = y + (rowHeight / 2) + 4;
            if (row % every == 0)
            {
                svg.Leaf("text", chart.Rows[row], "x", Number(Left - 8), "y", Number(line), "class", "tick end");
            }

            for (int column = 0; column < chart.Columns.Count; column++)
            {
                double value = chart.Values[row][column], x = Left + (width * column);
                svg.Empty("rect", "x", Number(x), "y", Number(y), "width", Number(width), "height", Number(rowHeight), "class", "paper");
                if (value > 0)
                {
                    // At most 0.6: the number stays readable.
                    string opacity = (0.6 * Math.Min(1, value / chart.Full)).ToString("0.##", CultureInfo.InvariantCulture);
                    svg.Empty(
                        "rect", "x", Number(x), "y", Number(y), "width", Number(width), "height", Number(rowHeight), "class", "work", "fill-opacity", opacity);
                }

                if (rowHeight >= 14)
                {
                    string text = double.IsFinite(value) ? value.ToString("F2", CultureInfo.InvariantCulture) : "-";
                    svg.Leaf("text", text, "x", Number(x + (width / 2)), "y", Number(line), "class", "cell mid");
                }
            }
        }

        ColumnNames(svg, chart.Columns, Left, right, bottom);
        return svg.Close().ToString();
    }

    /// <summary>A share as percent.</summary>
    public static string Percent(double share, int decimals) =>
        double.IsFinite(share)
            // Adding 0 turns a negative zero into zero.
            ? ((share * 100) + 0.0).ToString("F" + decimals.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture) + "%"
            : "no data";

    private static void ColumnNames(SvgWriter svg, IReadOnlyList<string> names, double left, double right, double bottom)
    {
        double width = (right - left) / Math.Max(1, names.Count);
        for (int column = 0; column < names.Count; column++)
        {
            svg.Leaf("text", names[column], "x", Number(left + (width * (column + 0.5))), "y", Number(bottom + 17), "class", "tick mid");
        }
    }

    private static (IReadOnlyList<double> Columns, IReadOnlyList<IReadOnlyList<double>> Rows) Shrink(
        IReadOnlyList<double> columns, IReadOnlyList<IReadOnlyList<double>> rows, int limit)
    {
        if (columns.Count <= limit)
        {
            return (columns, rows);
        }

        IReadOnlyList<IReadOnlyList<ChartPoint>> shrunk =
            [.. rows.Select(row => Downsample([.. row.Select((value, i) => new ChartPoint(columns[i], value))], limit))];
        IReadOnlyList<double> kept = shrunk.Count == 0 ? columns : [.. shrunk[0].Select(p => p.X)];
        return (kept, [.. shrunk.Select(row => (IReadOnlyList<double>)[.. row.Select(p => p.Y)])]);
    }

    private static IEnumerable<(int Level, string Path)> HeatPaths(
        IReadOnlyList<IReadOnlyList<double>> rows, int columns, double left, double right, double top, double rowHeight)
    {
        var paths = new SortedDictionary<int, StringBuilder>();
        double width = (right - left) / Math.Max(1, columns);
        for (int row = 0; row < rows.Count; row++)
        {
            int from = 0;
            for (int column = 1; column <= columns; column++)
            {
                int level = LevelOf(rows[row][from]);
                if (column < columns && LevelOf(rows[row][column]) == level)
                {
                    continue;
                }

                if (level != 0)
                {
                    StringBuilder path = paths.TryGetValue(level, out StringBuilder? known) ? known : paths[level] = new();
                    string run = Number(width * (column - from));
                    path.Append('M').Append(Number(left + (width * from))).Append(' ').Append(Number(top + (rowHeight * row)))
                        .Append('h').Append(run).Append('v').Append(Number(rowHeight)).Append("h-").Append(run).Append('z');
                }

                from = column;
            }
        }

        return paths.Select(pair => (pair.Key, pair.Value.ToString()));
    }

    private static int LevelOf(double ratio) => !double.IsFinite(ratio)
        ? 0
        : ratio <= 0 ? -HeatLevels : Math.Clamp((int)Math.Round(2 * Math.Log2(ratio)), -HeatLevels, HeatLevels);

    private static string HeatClass(int level) => level < 0 ? "cold" : "hot";

    private static string HeatOpacity(int level) =>
        (Math.Abs(level) / (double)HeatLevels).ToString("0.##", CultureInfo.InvariantCulture);

    private static void HeatLegend(SvgWriter svg, double left, double top)
    {
        const double Cell = 26;
        for (int level = -HeatLevels; level <= HeatLevels; level++)
        {
            double at = left + (Cell * (level + HeatLevels));
            string style = level == 0 ? "paper" : HeatClass(level);
            string opacity = level == 0 ? "1" : HeatOpacity(level);
            svg.Empty(
                "rect", "x", Number(at), "y", Number(top), "width", Number(Cell), "height", "9", "class", style, "fill-opacity", opacity);
        }

        foreach ((int level, string text) in new[] { (-4, "≤¼×"), (-2, "½×"), (0, "fair share"), (2, "2×"), (4, "≥4×") })
        {
            double at = left + (Cell * (level + HeatLevels + 0.5));
            svg.Leaf("text", text, "x", Number(at), "y", Number(top + 21), "class", "tick mid");
        }
    }
}
