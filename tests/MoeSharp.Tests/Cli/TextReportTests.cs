using MoeSharp.Cli;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

public sealed class TextReportTests
{
    [Fact]
    public void Table_Columns_AreAlignedAndTheRowIsMarked()
    {
        using var output = new StringWriter { NewLine = "\n" };
        TextReport.Table(output, ["name", ">bits"], [["a", "1.5"], ["longer", "10.25"]], marked: 1);
        Assert.Equal("  name     bits\n  ------  -----\n  a         1.5\n> longer  10.25\n", output.ToString());
    }

    [Theory]
    [InlineData(999, "999", "999 B")]
    [InlineData(27_100, "27.1 K", "26.5 KiB")]
    [InlineData(1_210_000, "1.21 M", "1.2 MiB")]
    [InlineData(7_000_000_000, "7.00 B", "6.52 GiB")]
    public void Units_AreTheUsualOnes(long count, string parameters, string bytes)
    {
        Assert.Equal(parameters, TextReport.Parameters(count));
        Assert.Equal(bytes, TextReport.Bytes(count));
    }

    [Fact]
    public void Sparkline_FollowsTheValues()
    {
        Assert.Equal("█▅▁", TextReport.Sparkline([3, double.NaN, 2.1, 1], 10));
        Assert.Equal(string.Empty, TextReport.Sparkline([double.NaN], 10));
        Assert.Equal(20, TextReport.Sparkline(Enumerable.Range(0, 500).Select(i => (double)i), 20).Length);
    }

    [Fact]
    public void Printable_ControlCharacters_CannotReachTheTerminal() =>
        Assert.Equal("a\n\t\uFFFD[31mb\uFFFD", TextReport.Printable("a\n\t\u001b[31mb\u009b"));

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, false)]
    public void ProgressView_FitsTheStream(bool terminal, bool color)
    {
        using var error = new StringWriter();
        var context = new CommandContext
        {
            Output = TextWriter.Null, Error = error, Terminal = new Terminal(terminal, terminal, color, 60), Json = false, Quiet = false, Stop = default,
        };
        using (var view = TrainProgressView.Create(context))
        {
            var progress = new TrainProgress(10, 100, 9000, 3.25, null, 1e-3, 0.5, 1.2, 0.8, TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(45));
            view.Report(progress);
            view.Report(progress with { Step = 20, ValidationBitsPerByte = 3.5 });
        }

        string text = error.ToString();
        Assert.Contains("3.250", text, StringComparison.Ordinal);
        Assert.Contains("3.500", text, StringComparison.Ordinal);
        Assert.Contains("20/100", text, StringComparison.Ordinal);
        Assert.Equal(terminal, text.Contains("\u001b[3A", StringComparison.Ordinal));
        Assert.Equal(color, text.Contains("\u001b[1m", StringComparison.Ordinal) || text.Contains("\u001b[32m", StringComparison.Ordinal));
        Assert.Equal(terminal ? 6 : 2, text.Count(c => c == '\n'));
    }
}
