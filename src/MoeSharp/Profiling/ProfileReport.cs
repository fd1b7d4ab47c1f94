using System.Globalization;
using System.Text;

namespace MoeSharp.Profiling;

/// <summary>All stages of one layer on one device.</summary>
/// <param name="Shape">What was measured.</param>
/// <param name="Device">The device in words.</param>
/// <param name="DType">Float type of activations and weights.</param>
/// <param name="Rows">Real rows R of the routing.</param>
/// <param name="Samples">Runs per stage.</param>
/// <param name="Stages">One row per op, in execution order.</param>
public sealed record ProfileReport(
    ProfileShape Shape, string Device, Core.DType DType, long Rows, int Samples, IReadOnlyList<ProfileRow> Stages)
{
    private const int ForwardStages = 5;

    /// <summary>The sums over the ops of the forward pass, and over those of the backward pass.</summary>
    public (ProfileRow Forward, ProfileRow Backward) Totals => (Sum("forward", Stages.Take(ForwardStages)), Sum("backward", Stages.Skip(ForwardStages)));

    /// <summary>A heading and a table in Markdown.</summary>
    public string ToMarkdown()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"### {Shape.Name}: T={Shape.Tokens} d={Shape.Hidden} n={Shape.ExpertWidth} E={Shape.Experts} K={Shape.TopK} rho={Shape.Rho} {Shape.Distribution}\n\n");
        text.Append(CultureInfo.InvariantCulture, $"{Device}, {(DType == Core.DType.BFloat16 ? "bf16" : "fp32")}, R={Rows}, medians of {Samples} runs\n\n");
        text.Append("| op | µs | IQR µs | TFLOP/s | GB/s | % of roofline | SM MHz |\n|---|---:|---:|---:|---:|---:|---:|\n");
        foreach (ProfileRow row in (IEnumerable<ProfileRow>)[.. Stages, Totals.Forward, Totals.Backward])
        {
            string share = double.IsFinite(row.OfRoofline) ? (100 * row.OfRoofline).ToString("F0", CultureInfo.InvariantCulture) : "-";
            text.Append(CultureInfo.InvariantCulture, $"| {row.Stage} | {row.Microseconds:F1} | {row.Spread:F1} | {row.TeraFlops:F3} | {row.GigaBytes:F1} | {share} | {row.Clocks?.MultiprocessorMegahertz.ToString(CultureInfo.InvariantCulture) ?? "-"} |\n");
        }

        return text.ToString();
    }

    private static ProfileRow Sum(string name, IEnumerable<ProfileRow> rows)
    {
        ProfileRow[] all = [.. rows];
        return new(name, all.Sum(row => row.Microseconds), all.Sum(row => row.Spread), all.Sum(row => row.Flops), all.Sum(row => row.Bytes), all.Sum(row => row.Ceiling));
    }
}
