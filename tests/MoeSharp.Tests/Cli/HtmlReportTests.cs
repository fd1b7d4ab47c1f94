using System.Text.RegularExpressions;
using System.Xml.Linq;
using MoeSharp.Cli;
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

        // Loss, 2 by kind of byte, null share and balance by layer, 4 heat maps, 3 of optimisation.
        Assert.Equal(12, charts.Count);
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
        Assert.Equal(SyntheticRun.HostileText.Replace('\u0001', '\uFFFD'), text);
    }

    [Fact]
    public void Render_RunThatJustBegan_LeavesOutWhatIsMissing()
    {
        ReportData data = SyntheticRun.Data(3) with { Steps = [], Evaluations = [], Yardsticks = [], Sample = [], NullTarget = null };
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
    public void Spans_BrokenUtf8_KeepsEveryByteAccountedFor()
    {
        IReadOnlyList<ReportSpan> spans = ReportSource.Spans([(byte)'a', 0xc3, 0xa9, 0xff, (byte)'b'], [0, 0.5, 1, 0.25, 0.75]);
        Assert.Equal(["a", "é", "\uFFFD", "b"], spans.Select(span => span.Text));
        Assert.Equal([0, 0.75, 0.25, 0.75], spans.Select(span => span.NullShare));
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

    [GeneratedRegex("<tr.*?</tr>")]
    private static partial Regex Row();
}
