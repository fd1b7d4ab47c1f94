using System.Globalization;
using System.Text.Json;
using MoeSharp.Models;
using MoeSharp.Profiling;

namespace MoeSharp.Cli;

/// <summary>Shows where a training step goes.</summary>
internal static class StepProfileView
{
    /// <summary>Writes a table, the op that takes most first.</summary>
    public static void Text(TextWriter output, StepReport report)
    {
        ModelConfig m = report.Options.Model;
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"Training {report.Options.Preset}: {report.Options.TokensPerStep} tokens per step, d={m.HiddenSize}, {m.Layers} layers, E={m.Experts} n={m.ExpertWidth} K={m.TopK}, {100 * report.RealShare:F0} % of slots real"));
        output.WriteLine($"{report.Device}, {Options.Spelling(report.DType)}, medians of {report.Samples} steps");
        output.WriteLine();
        ProfileRow total = report.Total;
        TextReport.Table(
            output,
            ["op", ">calls", ">us per step", ">IQR us", ">% of step", ">GFLOP/s", ">GB/s", ">% of roofline"],
            [
                .. report.Ops.Select(op => Row(op.Row, op.Calls, report)),
                Row(total, report.Ops.Sum(op => op.Calls), report),
                ["outside of ops", string.Empty, TextReport.Fixed(report.Rest, 1), "-", TextReport.Fixed(100 * report.Rest / report.Microseconds, 1), "-", "-", "-"],
            ]);
        output.WriteLine();
        TextReport.Pairs(
            output,
            ("step", $"{TextReport.Fixed(report.Microseconds / 1e3, 2)} ms, not watched"),
            ("speed", $"{TextReport.Count(report.TokensPerSecond)} tokens/s"));
    }

    /// <summary>Writes the fields of the JSON object.</summary>
    public static void Json(Utf8JsonWriter json, StepReport report, BackendReport backend)
    {
        json.WriteString("preset", report.Options.Preset);
        json.WriteNumber("tokens_per_step", report.Options.TokensPerStep);
        json.WriteString("device", report.Device);
        json.WriteString("dtype", Options.Spelling(report.DType));
        json.WriteNumber("samples", report.Samples);
        json.Number("real_share", report.RealShare);
        json.Number("step_microseconds", report.Microseconds);
        json.Number("outside_of_ops_microseconds", report.Rest);
        json.Number("tokens_per_second", report.TokensPerSecond);
        json.WriteStartArray("ops");
        foreach (StepOp op in report.Ops)
        {
            json.WriteStartObject();
            json.Op(op.Row);
            json.WriteNumber("calls", op.Calls);
            json.Number("share_of_step", op.Row.Microseconds / report.Microseconds);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.Backend(backend);
    }

    /// <summary>The measurement of an op.</summary>
    public static void Op(this Utf8JsonWriter json, ProfileRow row)
    {
        json.WriteString("op", row.Stage);
        json.Number("microseconds", row.Microseconds);
        json.Number("iqr_microseconds", row.Spread);
        json.Number("flops", row.Flops);
        json.Number("bytes", row.Bytes);
        json.Number("tflops", row.TeraFlops);
        json.Number("gigabytes_per_second", row.GigaBytes);
        json.Number("share_of_roofline", row.OfRoofline);
    }

    private static string[] Row(ProfileRow row, int calls, StepReport report) =>
    [
        row.Stage, calls.ToString(CultureInfo.InvariantCulture), TextReport.Fixed(row.Microseconds, 1), TextReport.Fixed(row.Spread, 1),
        TextReport.Fixed(100 * row.Microseconds / report.Microseconds, 1), row.Flops > 0 ? TextReport.Fixed(row.TeraFlops * 1e3, 1) : "-",
        TextReport.Fixed(row.GigaBytes, 1), TextReport.Fixed(100 * row.OfRoofline, 0),
    ];
}
