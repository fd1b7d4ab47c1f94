using System.Text.RegularExpressions;
using System.Xml.Linq;
using MoeSharp.Cli;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

public sealed partial class HtmlReportTests
{
    [Fact]
    public void Render_FullRun_IsSelfContained()
    {
        string html = HtmlReport.Render(SyntheticRun.Data());
        Assert.DoesNotContain("<script", html, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("<link", html, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("<img", html, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("@import", html, StringComparison.Ordinal);

        // The only addresses are the name of the SVG namespace and references inside the page.
        Assert.All(Address().Matches(html), match => Assert.Equal("http://www.w3.org/2000/svg", match.Value));
        Assert.All(UrlFunction().Matches(html), match => Assert.StartsWith("url(#", match.Value, StringComparison.Ordinal));
        Assert.Contains("prefers-color-scheme:dark", html, StringComparison.Ordinal);
        Assert.True(html.Length < 400_000, $"{html.Length} characters");
    }

    [Fact]
    public void Render_Charts_AreWellFormedWithUniqueIds()
    {
        string html = HtmlReport.Render(SyntheticRun.Data());
        List<XElement> charts = [.. SvgElement().Matches(html).Select(match => XDocument.Parse(match.Value).Root!)];

        // Loss, 2 by kind of byte, 2 of real experts, null share and balance by layer, 2 heat maps per layer, 3 of optimisation.
        Assert.Equal(18, charts.Count);
        Assert.All(charts, chart => Assert.False(string.IsNullOrEmpty(chart.Attribute("aria-label")?.Value)));
        string[] ids = [.. charts.Descendants().Attributes("id").Select(id => id.Value)];
        Assert.Equal(ids.Distinct(), ids);
        string[] known = [.. StyleClass().Matches(HtmlStyle.Text).Select(match => match.Groups[1].Value)];
        string[] used = [.. charts.Descendants().Attributes("class").SelectMany(c => c.Value.Split(' ')).Distinct()];
        Assert.Subset(known.ToHashSet(), used.ToHashSet());
    }

    [Fact]
    public void Render_HostileText_IsEscaped()
    {
        ReportData data = SyntheticRun.Data(20) with { Name = "<b>&", Summary = "\"<i>\"", Configuration = [("<u>", "<s>")] };
        string html = HtmlReport.Render(data);
        Assert.DoesNotContain("<b>&", html, StringComparison.Ordinal);
        Assert.DoesNotContain("<i>\"", html, StringComparison.Ordinal);
        Assert.DoesNotContain("<u>", html, StringComparison.Ordinal);
        Assert.DoesNotContain("alert(1)</script", html, StringComparison.Ordinal);
        string pre = html[html.IndexOf("<pre>", StringComparison.Ordinal)..html.IndexOf("</pre>", StringComparison.Ordinal)];
        string text = System.Net.WebUtility.HtmlDecode(Tag().Replace(pre, string.Empty))[1..];
        Assert.Equal(
            SyntheticRun.HostileText.Replace("\u0001", "\u2401", StringComparison.Ordinal).Replace("\u2028", "\u2039U+2028\u203A", StringComparison.Ordinal)
                .Replace("\n", "\u21B5\n", StringComparison.Ordinal).Replace("\t", "\u2192\t", StringComparison.Ordinal),
            text);
    }

    [Fact]
    public void Render_Texts_HaveAViewOfAllLayersAndOfEach_ShadedByRealExperts()
    {
        string html = HtmlReport.Render(SyntheticRun.Data());
        string views = html[html.IndexOf("<div class=\"views\">", StringComparison.Ordinal)..];
        views = views[..views.IndexOf("</div>", StringComparison.Ordinal)];
        string[] labels = [.. Label().Matches(views).Select(match => match.Groups[1].Value)], shaded = views.Split("<pre>")[1..];
        Assert.Equal(["all layers", "layer 0", "layer 1", "layer 2", "layer 3"], labels);
        Assert.Equal(labels.Length, shaded.Length);

        // A letter has 4, 3, 2 and 1 experts in the four layers; "if" is in front.
        Assert.Equal(["e4", "e5", "e4", "e3", "e1"], shaded.Select(text => StyleName().Match(text).Groups[1].Value));
        Assert.Single(Regex.Matches(views, " checked>"));
        for (int view = 1; view <= ReportText.MaxViews; view++)
        {
            Assert.Contains($".views>input:nth-of-type({view}):checked~pre:nth-of-type({view})", HtmlStyle.Text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Render_RouterWithAFixedNumberOfExperts_SaysSoOnce()
    {
        ReportText text = ReportText.From("abc"u8, [[2, 2, 2], [2, 2, 2]]);
        ReportData data = SyntheticRun.Data(20);
        string html = HtmlReport.Render(data with
        {
            Slots = 2, NullTarget = null, Sample = text, Excerpt = text, Steps = [.. data.Steps.Select(step => step with { RealExperts = [2, 2, 2, 2] })],
        });
        Assert.DoesNotContain("<div class=\"views\">", html, StringComparison.Ordinal);
        Assert.DoesNotContain("Where the work goes", html, StringComparison.Ordinal);
        Assert.DoesNotContain("null slots per layer", html, StringComparison.Ordinal);
        Assert.Contains("Every byte used 2 real experts in every layer.", html, StringComparison.Ordinal);
        Assert.Contains("Experts by kind of byte, layer 3", html, StringComparison.Ordinal);
    }

    [Fact]
    public void Text_OfADeepModel_HasSomeLayersEvenlySpaced()
    {
        ReportText text = ReportText.From("ab"u8, [.. Enumerable.Range(0, 45).Select(layer => (IReadOnlyList<double>)[layer, 0])]);
        Assert.Equal(ReportText.MaxViews, text.Views.Count);
        Assert.Equal([22.0, 0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44], text.Views.Select(view => view.Experts[0]));
    }

    [Fact]
    public void Read_RunFromBeforeRealExpertsWereRecorded_ShadesTheSampleByItsNullShare()
    {
        TrainOptions options = Presets.Get("tiny");
        double[] shares = [0, 0.25, 1];
        var final = new FinalMetrics(1, [], [(byte)'a', (byte)'b', (byte)'c'], shares, 1);
        var train = new TrainMetrics(1, 1, 1, 1, 1, 1, 1, 0.5, [0.5, 0.25], []);
        ReportData data = ReportSource.Build(options with { RunFolder = "r" }, new RunMetrics([train], [], final));
        Assert.Equal(shares.Select(share => options.Model.TopK * (1 - share)), Assert.Single(data.Sample.Views).Experts);
        Assert.Equal([0.5 * options.Model.TopK, 0.75 * options.Model.TopK], data.Steps[0].RealExperts);
        Assert.Empty(data.Excerpt.Characters);
        Assert.Contains("<div class=\"views\">", HtmlReport.Render(data), StringComparison.Ordinal);
    }

    [Fact]
    public void Render_RunThatJustBegan_LeavesOutWhatIsMissing()
    {
        ReportData data = SyntheticRun.Data(3) with { Steps = [], Evaluations = [], Yardsticks = [], Sample = ReportText.Empty, Excerpt = ReportText.Empty, NullTarget = null };
        string html = HtmlReport.Render(data);
        Assert.DoesNotContain("<table", html, StringComparison.Ordinal);
        Assert.DoesNotContain("<pre", html, StringComparison.Ordinal);
        Assert.All(SvgElement().Matches(html), match => XDocument.Parse(match.Value));
        Assert.Contains("Configuration", html, StringComparison.Ordinal);
    }

    [Fact]
    public void Render_Table_MarksTheModelAndComparesWithIt()
    {
        string html = HtmlReport.Render(SyntheticRun.Data() with { Yardsticks = [new("gzip", 2, false), new("this model", 2.5, true), new("x", 5, false)] });
        string[] rows = [.. Row().Matches(html).Select(match => Tag().Replace(match.Value, "|"))];
        Assert.Contains(rows, row => row.Contains("gzip", StringComparison.Ordinal) && row.Contains("-20.0%", StringComparison.Ordinal));
        Assert.Contains(rows, row => row.Contains("|x|", StringComparison.Ordinal) && row.Contains("+100.0%", StringComparison.Ordinal));
        Assert.Single(Regex.Matches(html, "<tr class=\"model\">"));
    }

    [Fact]
    public void Write_UnwritableFolder_LeavesNoTemporaryFile()
    {
        using var folder = new CliFolder();
        Directory.CreateDirectory(folder["report.html"]);
        Assert.ThrowsAny<Exception>(() => HtmlReport.Write(folder["report.html"], SyntheticRun.Data(5)));
        Assert.Equal(["report.html"], Directory.EnumerateFileSystemEntries(folder.Root).Select(Path.GetFileName));
    }

    [Fact]
    public void Text_OfBrokenUtf8_KeepsEveryByteAccountedFor()
    {
        ReportText text = ReportText.From([(byte)'a', 0xc3, 0xa9, 0xff, 0xe2, 0x82, (byte)'b'], [[0, 0.5, 1, 0.25, 3, 4, 0.75]]);
        Assert.Equal(["a", "\u00e9", "\u2039FF\u203A", "\u2039E2\u203A", "\u203982\u203A", "b"], text.Characters);
        Assert.Equal([0, 0.75, 0.25, 3, 4, 0.75], Assert.Single(text.Views).Experts);
    }

    [GeneratedRegex("https?:[^\"')\\s<]*|//[a-z][^\"')\\s<]*")]
    private static partial Regex Address();

    [GeneratedRegex(@"url\([^)]*")]
    private static partial Regex UrlFunction();

    [GeneratedRegex("<svg.*?</svg>", RegexOptions.Singleline)]
    private static partial Regex SvgElement();

    [GeneratedRegex(@"\.([a-z][a-z0-9]*)")]
    private static partial Regex StyleClass();

    [GeneratedRegex("<[^>]*>")]
    private static partial Regex Tag();

    [GeneratedRegex("<label[^>]*>([^<]*)</label>")]
    private static partial Regex Label();

    [GeneratedRegex("<span class=\"(e[0-9])\">")]
    private static partial Regex StyleName();

    [GeneratedRegex("<tr.*?</tr>")]
    private static partial Regex Row();
}
