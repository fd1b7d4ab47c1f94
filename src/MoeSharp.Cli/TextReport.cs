using System.Globalization;

namespace MoeSharp.Cli;

/// <summary>Text output: aligned tables, sparklines and numbers the way people read them.</summary>
internal static class TextReport
{
    private const string Bold = "\u001b[1m";
    private const string Reset = "\u001b[0m";

    /// <summary>Writes a table; columns are as wide as their content, numbers go right.</summary>
    /// <param name="output">Receives the table.</param>
    /// <param name="header">Column names; one that begins with <c>&gt;</c> is aligned right.</param>
    /// <param name="rows">Cells.</param>
    /// <param name="marked">Row that is marked with an arrow, and bold where colours are allowed; -1 for none.</param>
    /// <param name="color">Whether escape sequences are allowed.</param>
    public static void Table(TextWriter output, string[] header, IReadOnlyList<string[]> rows, int marked = -1, bool color = false)
    {
        bool[] right = [.. header.Select(name => name.StartsWith('>'))];
        string[] names = [.. header.Select(name => name.TrimStart('>'))];
        int[] widths = [.. names.Select((name, i) => rows.Select(row => row[i].Length).Append(name.Length).Max())];
        string margin = marked >= 0 ? "  " : string.Empty;
        output.WriteLine(margin + Line(names, widths, right));
        output.WriteLine(margin + string.Join("  ", widths.Select(width => new string('-', width))));
        for (int i = 0; i < rows.Count; i++)
        {
            string line = (i == marked ? "> " : margin) + Line(rows[i], widths, right);
            output.WriteLine(color && i == marked ? Bold + line + Reset : line);
        }
    }

    /// <summary>Writes name and value pairs, values aligned.</summary>
    public static void Pairs(TextWriter output, params ReadOnlySpan<(string Name, string Value)> pairs)
    {
        int width = 0;
        foreach ((string name, _) in pairs)
        {
            width = Math.Max(width, name.Length);
        }

        foreach ((string name, string value) in pairs)
        {
            output.WriteLine($"{name.PadRight(width)}  {value}".TrimEnd());
        }
    }

    /// <summary>A line of blocks whose heights follow the values; values that are not finite are left out.</summary>
    public static string Sparkline(IEnumerable<double> values, int width)
    {
        ChartPoint[] points = [.. values.Where(double.IsFinite).Select((value, i) => new ChartPoint(i, value))];
        if (points.Length == 0)
        {
            return string.Empty;
        }

        double[] shown = [.. SvgChart.Downsample(points, width).Select(p => p.Y)];
        (double low, double high) = (shown.Min(), shown.Max());
        double range = high > low ? high - low : 1;
        return string.Concat(shown.Select(value => "▁▂▃▄▅▆▇█"[(int)Math.Round((value - low) / range * 7)]));
    }

    /// <summary>A fixed number of decimals, or a dash without a value.</summary>
    public static string Fixed(double value, int decimals) => double.IsFinite(value)
        ? value.ToString("F" + decimals.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture)
        : "-";

    /// <summary>A whole number with separators.</summary>
    public static string Count(double value) => double.IsFinite(value) ? value.ToString("N0", CultureInfo.InvariantCulture) : "-";

    /// <summary>A number of parameters: 812, 12.3 K, 1.21 M, 7.00 B.</summary>
    public static string Parameters(long count) => count switch
    {
        < 1_000 => count.ToString(CultureInfo.InvariantCulture),
        < 1_000_000 => Fixed(count / 1e3, 1) + " K",
        < 1_000_000_000 => Fixed(count / 1e6, 2) + " M",
        _ => Fixed(count / 1e9, 2) + " B",
    };

    /// <summary>A number of bytes with a binary unit.</summary>
    public static string Bytes(long count) => count switch
    {
        < 1L << 10 => count.ToString(CultureInfo.InvariantCulture) + " B",
        < 1L << 20 => Fixed(count / 1024.0, 1) + " KiB",
        < 1L << 30 => Fixed(count / 1048576.0, 1) + " MiB",
        _ => Fixed(count / 1073741824.0, 2) + " GiB",
    };

    /// <summary>Minutes and seconds, with hours and days when there are any.</summary>
    public static string Duration(TimeSpan time) =>
        time.TotalHours < 1 ? time.ToString(@"m\:ss", CultureInfo.InvariantCulture)
        : time.TotalDays < 1 ? time.ToString(@"h\:mm\:ss", CultureInfo.InvariantCulture)
        : time.ToString(@"d\d\ hh\:mm", CultureInfo.InvariantCulture);

    /// <summary>Generated text for a terminal: control characters, which could move the cursor or change colours, become U+FFFD.</summary>
    public static string Printable(string text) =>
        string.Concat(text.Select(c => char.IsControl(c) && c is not ('\n' or '\t') ? '\uFFFD' : c));

    private static string Line(string[] cells, int[] widths, bool[] right) => string.Join(
        "  ", cells.Select((cell, i) => right[i] ? cell.PadLeft(widths[i]) : cell.PadRight(widths[i]))).TrimEnd();
}
