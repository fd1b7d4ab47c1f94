using System.Globalization;
using System.Xml.Linq;
using MoeSharp.Cli;
using Xunit;

namespace MoeSharp.Tests;

public sealed class SvgChartTests
{
    private static readonly XNamespace s_svg = "http://www.w3.org/2000/svg";

    [Fact]
    public void Line_ValuesThatAreNotFinite_BreakTheLineAndReachNoCoordinate()
    {
        ChartPoint[] points = [new(1, 2), new(2, double.NaN), new(3, 4), new(4, double.PositiveInfinity), new(5, 1), new(double.NaN, 3)];
        XElement svg = Parse(SvgChart.Line(Chart("a < b & \"c\"", points)));
        string path = svg.Descendants(s_svg + "path").Single(p => Class(p).StartsWith("line", StringComparison.Ordinal)).Attribute("d")!.Value;
        Assert.Equal(3, path.Count(c => c == 'M'));
        Assert.DoesNotContain("NaN", svg.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("Infinity", svg.ToString(), StringComparison.Ordinal);
        Assert.Contains(svg.Descendants(s_svg + "text"), text => text.Value == "a < b & \"c\"");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void Line_NoPointOrOne_IsStillAChart(int count)
    {
        XElement svg = Parse(SvgChart.Line(Chart("few", [.. Enumerable.Range(0, count).Select(i => new ChartPoint(i, 3))])));
        Assert.Equal(count, svg.Descendants(s_svg + "circle").Count());
        Assert.NotEmpty(svg.Descendants(s_svg + "text"));
    }

    [Fact]
    public void Line_Chart_HasTitleLabelsLegendAndReferences()
    {
        LineChart chart = Chart("loss", [new(1, 8), new(100, 2)]) with { References = [new("gzip", 3), new("brotli", 2.99), new("far", 99)], YLimit = 9 };
        string[] texts = [.. Parse(SvgChart.Line(chart)).Descendants(s_svg + "text").Select(text => text.Value)];
        Assert.Contains("loss", texts);
        Assert.Contains("step", texts);
        Assert.Contains("bits", texts);
        Assert.Contains("series", texts);
        Assert.Contains("gzip", texts);
        Assert.Contains("brotli", texts);
        Assert.DoesNotContain("far", texts);
    }

    [Fact]
    public void Line_OtherCulture_SameText()
    {
        CultureInfo before = CultureInfo.CurrentCulture;
        string expected = SvgChart.Line(Chart("c", [new(0.5, 1.25), new(2.5, 3.75)]));
        try
        {
            CultureInfo.CurrentCulture = new CultureInfo(string.Empty) { NumberFormat = { NumberDecimalSeparator = ",", NegativeSign = "~" } };
            Assert.Equal(expected, SvgChart.Line(Chart("c", [new(0.5, 1.25), new(2.5, 3.75)])));
        }
        finally
        {
            CultureInfo.CurrentCulture = before;
        }
    }

    [Fact]
    public void Downsample_LongSeries_KeepsMeanLastPointAndGaps()
    {
        ChartPoint[] points = [.. Enumerable.Range(0, 10_000).Select(i => new ChartPoint(i, i is > 3000 and < 4000 ? double.NaN : 7))];
        IReadOnlyList<ChartPoint> shown = SvgChart.Downsample(points, SvgChart.MaxPoints);
        Assert.Equal(SvgChart.MaxPoints, shown.Count);
        Assert.Equal(points[^1], shown[^1]);
        Assert.All(shown.Where(p => double.IsFinite(p.Y)), p => Assert.Equal(7, p.Y));
        Assert.Contains(shown, p => double.IsNaN(p.Y));
        Assert.Equal(shown.Select(p => p.X).Order(), shown.Select(p => p.X));
    }

    [Fact]
    public void Spread_CrowdedLabels_KeepDistanceOrderAndBounds()
    {
        double[] spread = SvgChart.Spread([10, 11, 12, 200, 201], 14, 0, 210);
        Assert.All(spread.Zip(spread.Skip(1)), pair => Assert.True(pair.Second - pair.First >= 14 - 1e-9));
        Assert.True(spread[0] >= 0 && spread[^1] <= 210);
    }

    [Fact]
    public void Bar_MissingValue_SaysSo()
    {
        XElement svg = Parse(SvgChart.Bar(new BarChart
        {
            Title = "t", XLabel = "share", Bars = [new("letters", 0.375, 0), new("digits", double.NaN, 1)], Reference = new("configured", 0.5),
        }));
        string[] texts = [.. svg.Descendants(s_svg + "text").Select(text => text.Value)];
        Assert.Contains("37.5%", texts);
        Assert.Contains("no data", texts);
        Assert.Contains("configured 50.0%", texts);
        double[] widths = [.. svg.Descendants(s_svg + "rect").Select(rect => double.Parse(rect.Attribute("width")!.Value, CultureInfo.InvariantCulture))];
        Assert.True(widths[0] > 0);
        Assert.Equal(0, widths[1]);
    }

    [Fact]
    public void Heat_FairShareEverywhere_DrawsPaperOnly()
    {
        XElement fair = Parse(SvgChart.Heat(Map(4, 50, (_, _) => 1)));
        Assert.Empty(fair.Descendants(s_svg + "path"));
        XElement uneven = Parse(SvgChart.Heat(Map(2, 50, (row, _) => row == 0 ? 2 : 0)));
        string[] classes = [.. uneven.Descendants(s_svg + "path").Select(Class).Order(StringComparer.Ordinal)];
        Assert.Equal(["cold", "hot"], classes);
    }

    [Fact]
    public void Heat_LongRunOfManyExperts_StaysSmall()
    {
        var random = new Random(3);
        string svg = SvgChart.Heat(Map(64, 5000, (_, _) => Math.Exp(random.NextDouble() - 0.5)));
        Parse(svg);
        Assert.True(svg.Length < 150_000, $"{svg.Length} characters");
    }

    [Theory]
    [InlineData(0, 600)]
    [InlineData(-3, 3)]
    [InlineData(0, 0.004)]
    [InlineData(2, 2)]
    [InlineData(1e6, 1.00001e6)]
    public void Axis_AnyRange_HasDistinctRoundLabels(double low, double high)
    {
        ChartAxis axis = ChartAxis.Over([low, high, double.NaN], 0, 100);
        string[] labels = [.. axis.Ticks().Select(axis.Label)];
        Assert.InRange(labels.Length, 3, 12);
        Assert.Equal(labels.Distinct(), labels);
        Assert.True(axis.Low <= low && axis.High >= high);
        Assert.Equal(0, axis.Pixel(axis.Low));
        Assert.Equal(100, axis.Pixel(axis.High));
    }

    private static LineChart Chart(string title, IReadOnlyList<ChartPoint> points) => new()
    {
        Title = title, XLabel = "step", YLabel = "bits", Series = [new("series", points, 0)],
    };

    private static HeatMap Map(int rows, int columns, Func<int, int, double> value) => new()
    {
        Title = "load",
        XLabel = "step",
        YLabel = "expert",
        Columns = [.. Enumerable.Range(1, columns).Select(i => (double)i)],
        Rows = [.. Enumerable.Range(0, rows).Select(r => (IReadOnlyList<double>)[.. Enumerable.Range(0, columns).Select(c => value(r, c))])],
    };

    private static XElement Parse(string svg) => XDocument.Parse(svg).Root!;

    private static string Class(XElement element) => element.Attribute("class")?.Value ?? string.Empty;
}
