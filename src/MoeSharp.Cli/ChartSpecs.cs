namespace MoeSharp.Cli;

/// <summary>One line of a <see cref="LineChart"/>.</summary>
/// <param name="Name">Legend text.</param>
/// <param name="Points">Points in order of X; a Y that is not finite breaks the line.</param>
/// <param name="Color">Colour number; wraps around with another dash pattern.</param>
/// <param name="Markers">Whether each point gets a dot (for few points).</param>
/// <param name="Faint">Whether it is drawn thin, as background to another line.</param>
internal sealed record ChartSeries(string Name, IReadOnlyList<ChartPoint> Points, int Color, bool Markers = false, bool Faint = false);

/// <summary>A point of a series.</summary>
internal readonly record struct ChartPoint(double X, double Y);

/// <summary>A dashed horizontal line with its name at the right edge.</summary>
internal sealed record ReferenceLine(string Name, double Value);

/// <summary>Lines over a common X axis.</summary>
internal sealed record LineChart
{
    /// <summary>Heading above the plot.</summary>
    public required string Title { get; init; }

    /// <summary>X axis label with unit.</summary>
    public required string XLabel { get; init; }

    /// <summary>Y axis label with unit.</summary>
    public required string YLabel { get; init; }

    /// <summary>Lines, drawn in order.</summary>
    public required IReadOnlyList<ChartSeries> Series { get; init; }

    /// <summary>Names of the abscissas 1, 2, ...; empty when they are numbers.</summary>
    public IReadOnlyList<string> XNames { get; init; } = [];

    /// <summary>Horizontal reference lines.</summary>
    public IReadOnlyList<ReferenceLine> References { get; init; } = [];

    /// <summary>Largest Y shown; lines above it leave the frame. Null: all data.</summary>
    public double? YLimit { get; init; }

    /// <summary>Values that the Y axis must include besides the data.</summary>
    public IReadOnlyList<double> YInclude { get; init; } = [];

    /// <summary>Width of the drawing in its own pixels.</summary>
    public int Width { get; init; } = 560;

    /// <summary>Height of the drawing in its own pixels.</summary>
    public int Height { get; init; } = 300;
}

/// <summary>A labelled bar; a value that is not finite is shown as "no data".</summary>
internal sealed record ChartBar(string Name, double Value, int Color);

/// <summary>Horizontal bars of shares between 0 and 1, printed in percent.</summary>
internal sealed record BarChart
{
    /// <summary>Heading above the plot.</summary>
    public required string Title { get; init; }

    /// <summary>Value axis label with unit.</summary>
    public required string XLabel { get; init; }

    /// <summary>Bars from top to bottom.</summary>
    public required IReadOnlyList<ChartBar> Bars { get; init; }

    /// <summary>A vertical reference line, or null.</summary>
    public ReferenceLine? Reference { get; init; }

    /// <summary>Width of the drawing in its own pixels.</summary>
    public int Width { get; init; } = 560;
}

/// <summary>Named rows by named columns; a cell is a number, printed, on a background that is darker the larger it is.</summary>
internal sealed record MatrixChart
{
    /// <summary>Heading above the plot.</summary>
    public required string Title { get; init; }

    /// <summary>Names from top to bottom.</summary>
    public required IReadOnlyList<string> Rows { get; init; }

    /// <summary>Names from left to right.</summary>
    public required IReadOnlyList<string> Columns { get; init; }

    /// <summary>Values from 0, one list per row; NaN = no data.</summary>
    public required IReadOnlyList<IReadOnlyList<double>> Values { get; init; }

    /// <summary>The value of the darkest background.</summary>
    public required double Full { get; init; }

    /// <summary>Width of the drawing in its own pixels.</summary>
    public int Width { get; init; } = 560;
}

/// <summary>Rows over time, or over named columns; a cell is a ratio to the fair share (1 = fair), NaN = no data.</summary>
internal sealed record HeatMap
{
    /// <summary>Heading above the plot.</summary>
    public required string Title { get; init; }

    /// <summary>X axis label.</summary>
    public required string XLabel { get; init; }

    /// <summary>Y axis label.</summary>
    public required string YLabel { get; init; }

    /// <summary>X value of each column, increasing.</summary>
    public required IReadOnlyList<double> Columns { get; init; }

    /// <summary>What to write under the columns instead of a scale; null for columns on a scale.</summary>
    public IReadOnlyList<string>? ColumnNames { get; init; }

    /// <summary>Ratios, one list per row, as long as <see cref="Columns"/>.</summary>
    public required IReadOnlyList<IReadOnlyList<double>> Rows { get; init; }

    /// <summary>Width of the drawing in its own pixels.</summary>
    public int Width { get; init; } = 560;
}
