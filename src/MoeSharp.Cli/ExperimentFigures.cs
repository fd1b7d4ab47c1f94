using System.Diagnostics;
using MoeSharp.Experiments;

namespace MoeSharp.Cli;

/// <summary>Draws the figures of an experiment, inside a page or as files of their own.</summary>
internal static class ExperimentFigures
{
    /// <summary>An svg element that uses the page's style.</summary>
    public static string Draw(Figure figure) => figure switch
    {
        ScatterFigure scatter => SvgChart.Scatter(scatter),
        BarsFigure bars => SvgChart.Groups(bars),
        ScenesFigure scenes => SvgChart.Scenes(scenes),
        LinesFigure lines => SvgChart.Line(new LineChart
        {
            Title = lines.Title,
            XLabel = lines.XLabel,
            YLabel = lines.YLabel,
            XNames = lines.XNames,
            Series = [.. lines.Lines.Select(line => new ChartSeries(line.Name, [.. line.Points.Select(point => new ChartPoint(point.X, point.Y))], line.Color, Markers: true))],
        }),
        _ => throw new UnreachableException($"{figure.GetType().Name} has no drawing."),
    };

    /// <summary>A file that carries the style itself, for both colour schemes.</summary>
    public static string DrawFile(Figure figure)
    {
        string svg = Draw(figure);
        int end = svg.IndexOf('>', StringComparison.Ordinal) + 1;
        return $"{svg[..end]}<style>{SvgWriter.Escape(HtmlStyle.Text + HtmlStyle.File)}</style><rect width=\"100%\" height=\"100%\" class=\"sheet\"/>{svg[end..]}\n";
    }
}
