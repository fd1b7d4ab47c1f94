using System.Globalization;
using System.Text;

namespace MoeSharp.Cli;

/// <summary>Writes <c>report.html</c>: one file with inline style and inline SVG, no scripts, nothing loaded from elsewhere.</summary>
/// <remarks>
/// The report answers three questions in this order: how good is the model beside honest yardsticks, which tokens did it spend experts on
/// and which cost nothing, and did routing stay healthy. The file is written beside its final name and renamed, so a reader never sees half of it.
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
        Work(html, data);
        Excerpt(html, data);
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

    private static void Work(StringBuilder html, ReportData data)
    {
        MatrixChart? matrix = ReportCharts.RealExpertsByClass(data);
        if (!data.Steps.Any(step => step.RealExperts.Any(experts => double.IsFinite(experts) && experts < data.Slots - 1e-9)))
        {
            return;
        }

        Heading(html, "Where the work goes", $"A token may use up to {data.Slots} real experts in every layer; how many it uses is what it costs.");
        html.Append("<div class=\"grid\">\n");
        if (matrix is not null)
        {
            Panel(html, SvgChart.Matrix(matrix));
        }

        Panel(html, SvgChart.Line(ReportCharts.RealExperts(data)));
        html.Append("</div>\n");
    }

    private static void Excerpt(StringBuilder html, ReportData data)
    {
        if (data.Excerpt.Characters.Count > 0)
        {
            TextOf(html, data.Excerpt, data.Slots, "Text it never saw", "A piece of the validation text, as the model read it.", "excerpt");
        }
    }

    private static void Sample(StringBuilder html, ReportData data)
    {
        if (data.Sample.Characters.Count > 0)
        {
            TextOf(html, data.Sample, data.Slots, "Sample", "Text the model wrote.", "sample");
        }
    }

    /// <summary>A text on the number of real experts that each character used; one layer at a time where there are several, without scripts.</summary>
    private static void TextOf(StringBuilder html, ReportText text, int slots, string title, string note, string id)
    {
        string shading = text.Varies ? " The background of each character is the number of real experts that its bytes used, per layer."
            : text.Views.Count > 0 && text.Views.All(view => view.Experts[0].Equals(text.Views[0].Experts[0])) && double.IsFinite(text.Views[0].Experts[0])
            ? $" Every byte used {Fixed(text.Views[0].Experts[0], 0)} real experts in every layer."
            : string.Empty;
        Heading(html, title, note + shading);
        html.Append("<div class=\"panel\">\n");
        if (!text.Varies)
        {
            html.Append("<pre>\n").Append(Text(string.Concat(text.Characters))).Append("</pre>\n</div>\n");
            return;
        }

        Scale(html, slots);
        html.Append("<div class=\"views\">\n");
        for (int view = 0; view < text.Views.Count; view++)
        {
            html.Append(CultureInfo.InvariantCulture, $"<input type=\"radio\" name=\"{id}\" id=\"{id}{view}\"{(view == 0 ? " checked" : string.Empty)}><label for=\"{id}{view}\">")
                .Append(Text(text.Views[view].Name)).Append("</label>\n");
        }

        foreach (ReportView view in text.Views)
        {
            Shaded(html, text.Characters, view.Experts, slots);
        }

        html.Append("</div>\n</div>\n");
    }

    private static void Shaded(StringBuilder html, IReadOnlyList<string> characters, IReadOnlyList<double> experts, int slots)
    {
        // A parser drops one newline right after <pre>, so one is given to it.
        html.Append("<pre>\n");
        for (int at = 0; at < characters.Count;)
        {
            string shade = ShadeOf(experts[at], slots);
            int end = at;
            while (end < characters.Count && ShadeOf(experts[end], slots) == shade)
            {
                end++;
            }

            string text = Text(string.Concat(characters.Skip(at).Take(end - at)));
            html.Append(shade.Length == 0 ? text : $"<span class=\"{shade}\">{text}</span>");
            at = end;
        }

        html.Append("</pre>\n");
    }

    private static void Scale(StringBuilder html, int slots)
    {
        html.Append("<div class=\"scale\">real experts:");
        for (int level = 0; level <= Levels(slots); level++)
        {
            double experts = (double)level * slots / Levels(slots);
            html.Append(CultureInfo.InvariantCulture, $"<i class=\"{ShadeOf(experts, slots)}\"></i>{experts:0.#}");
        }

        html.Append("</div>\n");
    }

    /// <summary>Shades above none: one per expert, at most five.</summary>
    private static int Levels(int slots) => Math.Min(slots, 5);

    /// <summary>Class of the nearest shade; the darkest is always the fifth. Empty for none and for what is unknown.</summary>
    private static string ShadeOf(double experts, int slots)
    {
        int level = double.IsFinite(experts) ? (int)Math.Round(experts / slots * Levels(slots), MidpointRounding.AwayFromZero) : 0;
        return level <= 0 ? string.Empty : string.Create(CultureInfo.InvariantCulture, $"e{(int)Math.Round(5.0 * level / Levels(slots), MidpointRounding.AwayFromZero)}");
    }

    private static void Routing(StringBuilder html, ReportData data)
    {
        // A dense model has none.
        if (data.Steps.All(step => step.ExpertLoad.Count == 0))
        {
            return;
        }

        Heading(html, "Routing", (data.NullTarget is null ? "How" : "The share of null slots per layer, and how") + " evenly the real slots fall on the experts. "
            + "Orange: an expert gets more than its fair share, of all slots or of those of a kind of byte; blue: less.");
        html.Append("<div class=\"grid half\">\n");
        if (data.NullTarget is not null)
        {
            Panel(html, SvgChart.Line(ReportCharts.NullShareByLayer(data)));
        }

        Panel(html, SvgChart.Line(ReportCharts.LoadBalance(data)));
        html.Append("</div>\n<div class=\"grid half\">\n");
        // By layer: the load over the run, and beside it which kinds of byte the experts serve.
        HeatMap[] loads = [.. ReportCharts.ExpertLoad(data)], classes = [.. ReportCharts.ExpertsOfClasses(data)];
        for (int layer = 0; layer < Math.Max(loads.Length, classes.Length); layer++)
        {
            foreach (HeatMap map in loads.Skip(layer).Take(1).Concat(classes.Skip(layer).Take(1)))
            {
                Panel(html, SvgChart.Heat(map));
            }
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

    private static string Text(string text) => SvgWriter.Escape(text);

    private static string Fixed(double value, int decimals) =>
        double.IsFinite(value) ? value.ToString("F" + decimals.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture) : "-";
}
