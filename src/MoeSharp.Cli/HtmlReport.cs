using System.Globalization;
using System.Text;

namespace MoeSharp.Cli;

/// <summary>Writes <c>report.html</c>: one file with inline style and inline SVG, no scripts, nothing loaded from elsewhere.</summary>
/// <remarks>
/// The report answers three questions in this order: how good is the model beside honest yardsticks, which tokens did it decide cost
/// nothing, and did routing stay healthy. The file is written beside its final name and renamed, so a reader never sees half of it.
/// </remarks>
internal static class HtmlReport
{
    /// <summary>Writes the report of a run; replaces an older one in one step.</summary>
    public static void Write(string path, ReportData data)
    {
        string temporary = path + ".tmp";
        try
        {
            File.WriteAllText(temporary, Render(data), new UTF8Encoding(encoderShouldEmitUTF8Identifier: false));
            File.Move(temporary, path, overwrite: true);
        }
        catch (Exception)
        {
            File.Delete(temporary);
            throw;
        }
    }

    /// <summary>The report as text.</summary>
    public static string Render(ReportData data)
    {
        var html = new StringBuilder(1 << 17);
        html.Append("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n")
            .Append("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>").Append(Text(data.Name))
            .Append(" - MoeSharp</title>\n<style>\n").Append(HtmlStyle.Text).Append("\n</style>\n</head>\n<body>\n<main>\n");
        html.Append("<header>\n<h1>").Append(Text(data.Name)).Append("</h1>\n<p class=\"sub\">").Append(Text(data.Summary))
            .Append("</p>\n</header>\n");
        Figures(html, data);
        Loss(html, data);
        NullByClass(html, data);
        Sample(html, data);
        Routing(html, data);
        Optimisation(html, data);
        Configuration(html, data);
        return html.Append("<footer>Written by moe, the command of MoeSharp.</footer>\n</main>\n</body>\n</html>\n").ToString();
    }

    private static void Figures(StringBuilder html, ReportData data)
    {
        html.Append("<div class=\"figures\">\n");
        foreach (ReportFigure figure in data.Figures)
        {
            html.Append("<div class=\"figure\"><span>").Append(Text(figure.Label)).Append("</span><b>").Append(Text(figure.Value))
                .Append("</b><span>").Append(Text(figure.Note)).Append("</span></div>\n");
        }

        html.Append("</div>\n");
    }

    private static void Loss(StringBuilder html, ReportData data)
    {
        Heading(html, "Loss", "Bits per byte on training batches and on validation text the model never saw. Dashed: other methods on the "
            + "same validation text. The n-gram models were counted on the training text; the compressors see the validation text alone.");
        Panel(html, SvgChart.Line(ReportCharts.Loss(data)));
        if (data.Yardsticks.Count == 0)
        {
            return;
        }

        html.Append("<div class=\"panel wide\">\n<table>\n<thead><tr><th>On the same validation text</th><th class=\"number\">bits per byte</th>")
            .Append("<th class=\"number\">compared with the model</th></tr></thead>\n<tbody>\n");
        double model = data.Yardsticks.FirstOrDefault(row => row.IsModel)?.BitsPerByte ?? double.NaN;
        foreach (ReportYardstick row in data.Yardsticks)
        {
            string difference = row.IsModel || !double.IsFinite(model)
                ? string.Empty
                : ((row.BitsPerByte / model) - 1).ToString("+0.0%;-0.0%;0.0%", CultureInfo.InvariantCulture);
            html.Append(row.IsModel ? "<tr class=\"model\">" : "<tr>").Append("<td>").Append(Text(row.Name))
                .Append("</td><td class=\"number\">").Append(Fixed(row.BitsPerByte, 3)).Append("</td><td class=\"number\">")
                .Append(difference).Append("</td></tr>\n");
        }

        html.Append("</tbody>\n</table>\n</div>\n");
    }

    private static void NullByClass(StringBuilder html, ReportData data)
    {
        if (data.NullTarget is null || data.Evaluations.Count == 0)
        {
            return;
        }

        Heading(html, "Which tokens cost nothing", "A slot that a token gives to a null expert does no work. The share of such slots by kind "
            + "of byte, on the validation text: a high bar is a kind of byte that the model decided needs little computation.");
        html.Append("<div class=\"grid\">\n");
        Panel(html, SvgChart.Bar(ReportCharts.ClassBars(data)));
        Panel(html, SvgChart.Line(ReportCharts.ClassesOverTime(data)));
        html.Append("</div>\n");
    }

    private static void Sample(StringBuilder html, ReportData data)
    {
        if (data.Sample.Count == 0)
        {
            return;
        }

        bool colored = data.Sample.Any(span => double.IsFinite(span.NullShare));
        Heading(html, "Sample", colored
            ? "Text the model wrote. The background of each byte is the share of its slots, over all layers, that chose a null expert."
            : "Text the model wrote.");
        html.Append("<div class=\"panel\">\n");
        if (colored)
        {
            html.Append("<div class=\"scale\">null slots: below 20%<i></i><i class=\"n1\"></i><i class=\"n2\"></i><i class=\"n3\"></i><i class=\"n4\">")
                .Append("</i>80% and more</div>\n");
        }

        // A parser drops one newline right after <pre>, so one is given to it.
        html.Append("<pre>\n");
        for (int at = 0; at < data.Sample.Count;)
        {
            int level = LevelOf(data.Sample[at]);
            int end = at;
            while (end < data.Sample.Count && LevelOf(data.Sample[end]) == level)
            {
                end++;
            }

            string text = Text(string.Concat(data.Sample.Skip(at).Take(end - at).Select(span => span.Text)));
            html.Append(level == 0 ? text : $"<span class=\"n{level}\">{text}</span>");
            at = end;
        }

        html.Append("</pre>\n</div>\n");
    }

    private static void Routing(StringBuilder html, ReportData data)
    {
        // A dense model has none.
        if (data.Steps.All(step => step.ExpertLoad.Count == 0))
        {
            return;
        }

        Heading(html, "Routing", "The share of null slots per layer, and how evenly the real slots fall on the experts. Orange: an expert gets "
            + "more than its fair share; blue: less.");
        html.Append("<div class=\"grid\">\n");
        if (data.NullTarget is not null)
        {
            Panel(html, SvgChart.Line(ReportCharts.NullShareByLayer(data)));
        }

        Panel(html, SvgChart.Line(ReportCharts.LoadBalance(data)));
        foreach (HeatMap map in ReportCharts.ExpertLoad(data))
        {
            Panel(html, SvgChart.Heat(map));
        }

        html.Append("</div>\n");
    }

    private static void Optimisation(StringBuilder html, ReportData data)
    {
        if (data.Steps.Count == 0)
        {
            return;
        }

        Heading(html, "Optimisation", string.Empty);
        html.Append("<div class=\"grid\">\n");
        Panel(html, SvgChart.Line(ReportCharts.LearningRate(data)));
        Panel(html, SvgChart.Line(ReportCharts.GradientNorm(data)));
        if (data.Steps.Any(step => double.IsFinite(step.TokensPerSecond)))
        {
            Panel(html, SvgChart.Line(ReportCharts.Throughput(data)));
        }

        html.Append("</div>\n");
    }

    private static void Configuration(StringBuilder html, ReportData data)
    {
        Heading(html, "Configuration", string.Empty);
        html.Append("<div class=\"panel\"><dl>\n");
        foreach ((string name, string value) in data.Configuration)
        {
            html.Append("<div><dt>").Append(Text(name)).Append("</dt><dd>").Append(Text(value)).Append("</dd></div>\n");
        }

        html.Append("</dl></div>\n");
    }

    private static void Heading(StringBuilder html, string title, string note)
    {
        html.Append("<h2>").Append(Text(title)).Append("</h2>\n");
        if (note.Length > 0)
        {
            html.Append("<p class=\"note\">").Append(Text(note)).Append("</p>\n");
        }
    }

    private static void Panel(StringBuilder html, string content) =>
        html.Append("<div class=\"panel\">").Append(content).Append("</div>\n");

    private static int LevelOf(ReportSpan span) => double.IsFinite(span.NullShare) ? Math.Clamp((int)(span.NullShare * 5), 0, 4) : 0;

    private static string Text(string text) => SvgWriter.Escape(text);

    private static string Fixed(double value, int decimals) =>
        double.IsFinite(value) ? value.ToString("F" + decimals.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture) : "-";
}
