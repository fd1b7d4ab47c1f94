using System.Text;
using MoeSharp.Experiments;

namespace MoeSharp.Cli;

/// <summary>Writes the <c>report.html</c> of an experiment: one file with inline style and inline SVG, nothing loaded from elsewhere.</summary>
/// <remarks>
/// The order is that of a sceptical reader: what was claimed and what became of it, by which rule; then per study the data, the pictures, the table with
/// baselines and controls side by side, the measured time, and the sweep behind every choice. A claim that failed looks as prominent as one that held.
/// </remarks>
internal static class ExperimentReport
{
    /// <summary>The report as text.</summary>
    public static string Render(ExperimentConfig config, IReadOnlyList<StudyResults> studies, string machine)
    {
        Experiment experiment = config.Experiment;
        var html = new StringBuilder(1 << 17);
        html.Append("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>")
            .Append(Text(experiment.Title)).Append(" - MoeSharp</title>\n<style>\n").Append(HtmlStyle.Text).Append("\n</style>\n</head>\n<body>\n<main>\n<header>\n<h1>")
            .Append(Text(experiment.Title)).Append("</h1>\n<p class=\"sub\">").Append(Text(experiment.Summary)).Append("</p>\n<p class=\"sub\">").Append(Text(experiment.Source))
            .Append("</p>\n</header>\n");
        Tiles(html, config, studies);
        Claims(html, config, studies);
        foreach (StudyResults study in studies)
        {
            StudySection(html, study, machine);
        }

        return html.Append("<footer>Written by moe experiment ").Append(Text(experiment.Name)).Append(config.IsQuick ? " --quick" : string.Empty)
            .Append(", the command of MoeSharp. Measured on ").Append(Text(machine)).Append(".</footer>\n</main>\n</body>\n</html>\n").ToString();
    }

    private static void Tiles(StringBuilder html, ExperimentConfig config, IReadOnlyList<StudyResults> studies)
    {
        Claim[] claims = [.. studies.SelectMany(study => study.Claims)];
        html.Append("<div class=\"figures\">\n");
        Tile(html, "Claims", $"{claims.Count(claim => claim.Outcome == Outcome.Reproduced)} of {claims.Length}", "reproduced at this size");
        Tile(html, "Seeds", TextReport.Count(config.Seeds), $"fresh; {config.TuningSeeds} others for tuning");
        Tile(html, "Arms", TextReport.Count(studies.Sum(study => study.Arms.Count)), $"in {studies.Count} {(studies.Count == 1 ? "study" : "studies")}");
        Tile(html, "Size", config.IsQuick ? "quick" : "full", config.IsQuick ? "a smoke test: read nothing into it" : "minutes on two cores");
        html.Append("</div>\n");
    }

    private static void Tile(StringBuilder html, string label, string value, string note) => html.Append("<div class=\"figure\"><span>").Append(Text(label))
        .Append("</span><b>").Append(Text(value)).Append("</b><span>").Append(Text(note)).Append("</span></div>\n");

    private static void Claims(StringBuilder html, ExperimentConfig config, IReadOnlyList<StudyResults> studies)
    {
        Heading(html, "What became of the claims", Claim.Rule + $" Every arm was trained at every balance weight of its sweep on {config.TuningSeeds} tuning "
            + $"{(config.TuningSeeds == 1 ? "seed" : "seeds")}; the weight with the lowest loss is evaluated on {config.Seeds} other seeds with data no training step saw. "
            + "A weight at which an arm uses over 5 % more real experts than it is meant to is passed over while another one does not. ± is one standard deviation over seeds.");
        foreach (StudyResults study in studies)
        {
            html.Append("<h3>").Append(Text(study.Study.Title)).Append("</h3>\n<div class=\"claims\">\n");
            foreach (Claim claim in study.Claims)
            {
                string style = claim.Outcome switch { Outcome.Reproduced => "yes", Outcome.Opposite => "opposite", _ => "no" };
                html.Append("<div class=\"claim ").Append(style).Append("\"><b>").Append(ExperimentText.Of(claim.Outcome)).Append("</b><p><strong>").Append(Text(claim.Statement))
                    .Append("</strong> ").Append(Text(claim.Evidence)).Append("</p></div>\n");
            }

            html.Append("</div>\n");
        }
    }

    private static void StudySection(StringBuilder html, StudyResults study, string machine)
    {
        Heading(html, study.Study.Title, study.Study.Description);
        html.Append("<div class=\"grid\">\n");
        foreach (Figure figure in study.Figures)
        {
            html.Append("<figure class=\"panel\">").Append(ExperimentFigures.Draw(figure)).Append("<figcaption>").Append(Text(figure.Note)).Append("</figcaption></figure>\n");
        }

        html.Append("</div>\n");
        Table(html, "Every arm at its own best balance weight", ResultsHeader(study), [.. study.Arms.Select(arm => ResultsRow(study, arm))],
            [.. study.Arms.Select(arm => arm.Arm.Role == ArmRole.Baseline)]);
        if (study.Timings.Count > 0)
        {
            TimedShape shape = study.Timings[0].Shape;
            Table(
                html,
                $"Time of the expert part, forward, {TimedShape.Tokens} tokens of width {shape.Hidden}, one thread of {machine}, the fastest of the rounds in which all arms take turns; the routing is that of the first evaluation seed",
                ["", "experts per token", "time", "every slot real", "counted FLOPs", "measured time", "time ratio / FLOP ratio"],
                [.. study.Timings.Select(TimingRow)], []);
        }

        Sweep(html, study);
        html.Append("<details><summary>Settings</summary><div class=\"panel\"><dl>\n");
        foreach (Setting setting in study.Settings.Settings)
        {
            html.Append("<div><dt>").Append(Text(setting.Meaning)).Append("</dt><dd>").Append(Text(ExperimentConfig.Text(study.Settings.List(setting.Name)))).Append("</dd></div>\n");
        }

        html.Append("</dl></div></details>\n");
    }

    private static string[] ResultsHeader(StudyResults study) =>
        ["", "for", "balance weight", study.Study.LossName, "training loss", "real experts", "width", "kFLOP", .. study.Study.Columns.Select(column => column.Name)];

    private static string[] ResultsRow(StudyResults study, ArmResult arm) =>
    [
        arm.Arm.Label,
        ExperimentText.Of(arm.Arm.Role),
        ExperimentText.Value(arm.Weight, "0.####") + (arm.IsAtEdge ? " (edge)" : string.Empty),
        Claim.Number(arm.Of(Metric.Loss)),
        Claim.Number(arm.Of(Metric.TrainLoss)),
        ExperimentText.Value(arm.Of(Metric.RealExperts), "F2"),
        ExperimentText.Value(arm.Of(Metric.Width).Mean, "F1"),
        ExperimentText.Value(arm.Of(Metric.Flops).Mean / 1000, "F1"),
        .. study.Study.Columns.Select(column => ExperimentText.Value(arm.Of(column.Metric), column.Format)),
    ];

    private static string[] TimingRow(ArmTiming timing) =>
    [
        timing.Arm.Label,
        ExperimentText.Value(timing.Rows / TimedShape.Tokens, "F2"),
        ExperimentText.Value(timing.Microseconds / 1000, "F2") + " ms",
        ExperimentText.Value(timing.FullMicroseconds / 1000, "F2") + " ms",
        ExperimentText.Value(timing.FlopRatio, "P0"),
        ExperimentText.Value(timing.TimeRatio, "P0"),
        ExperimentText.Value(timing.Realised, "F2"),
    ];

    private static void Sweep(StringBuilder html, StudyResults study)
    {
        double[] weights = [.. study.Arms.SelectMany(arm => arm.Sweep).Select(point => point.Weight).Distinct().Order()];
        if (weights.Length == 0)
        {
            return;
        }

        html.Append("<details><summary>The sweep over balance weights</summary>\n");
        Table(
            html, $"{study.Study.LossName} (real experts per token) on the tuning seeds; the chosen one is marked *, one over the budget of experts !",
            ["", .. weights.Select(weight => ExperimentText.Value(weight, "0.####"))],
            [.. study.Arms.Where(arm => arm.Sweep.Count > 0).Select(arm => (string[])[arm.Arm.Label, .. weights.Select(weight => SweepCell(arm, weight))])], []);
        html.Append("</details>\n");
    }

    private static string SweepCell(ArmResult arm, double weight)
    {
        SweepPoint? point = arm.Sweep.FirstOrDefault(point => point.Weight == weight);
        return point is null
            ? string.Empty
            : $"{Claim.Number(point.Loss)} ({ExperimentText.Value(point.RealExperts.Mean, "F2")}){(point.IsWithinBudget ? string.Empty : " !")}{(weight == arm.Weight ? " *" : string.Empty)}";
    }

    private static void Table(StringBuilder html, string caption, string[] header, IReadOnlyList<string[]> rows, IReadOnlyList<bool> marked)
    {
        html.Append("<div class=\"panel wide results\">\n<table>\n<caption>").Append(Text(caption)).Append("</caption>\n<thead><tr>");
        for (int i = 0; i < header.Length; i++)
        {
            html.Append(i == 0 ? "<th>" : "<th class=\"number\">").Append(Text(header[i])).Append("</th>");
        }

        html.Append("</tr></thead>\n<tbody>\n");
        for (int row = 0; row < rows.Count; row++)
        {
            html.Append(row < marked.Count && marked[row] ? "<tr class=\"model\">" : "<tr>");
            for (int i = 0; i < rows[row].Length; i++)
            {
                html.Append(i == 0 ? "<td>" : "<td class=\"number\">").Append(Text(rows[row][i])).Append("</td>");
            }

            html.Append("</tr>\n");
        }

        html.Append("</tbody>\n</table>\n</div>\n");
    }

    private static void Heading(StringBuilder html, string title, string note) =>
        html.Append("<h2>").Append(Text(title)).Append("</h2>\n<p class=\"note\">").Append(Text(note)).Append("</p>\n");

    private static string Text(string text) => SvgWriter.Escape(text);
}
