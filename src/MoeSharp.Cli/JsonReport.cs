using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Cli;

/// <summary>Writes the one JSON object of <c>--format json</c>.</summary>
/// <remarks>Keys are snake_case and stay; a number without a value (NaN) is null, because JSON has no NaN.</remarks>
internal static class JsonReport
{
    private static readonly JsonWriterOptions s_options = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Writes an object and a line end.</summary>
    /// <param name="output">Standard output.</param>
    /// <param name="command">Name of the command, the first key.</param>
    /// <param name="fields">Writes the other fields.</param>
    public static void Write(TextWriter output, string command, Action<Utf8JsonWriter> fields)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer, s_options))
        {
            json.WriteStartObject();
            json.WriteString("command", command);
            fields(json);
            json.WriteEndObject();
        }

        output.WriteLine(Encoding.UTF8.GetString(buffer.GetBuffer(), 0, (int)buffer.Length));
    }

    /// <summary>A number, or null when it is not finite.</summary>
    public static void Number(this Utf8JsonWriter json, string name, double value)
    {
        if (double.IsFinite(value))
        {
            json.WriteNumber(name, value);
        }
        else
        {
            json.WriteNull(name);
        }
    }

    /// <summary>An array of numbers; null for those that are not finite.</summary>
    public static void Numbers(this Utf8JsonWriter json, string name, IEnumerable<double> values)
    {
        json.WriteStartArray(name);
        foreach (double value in values)
        {
            if (double.IsFinite(value))
            {
                json.WriteNumberValue(value);
            }
            else
            {
                json.WriteNullValue();
            }
        }

        json.WriteEndArray();
    }

    /// <summary>An array of texts.</summary>
    public static void Texts(this Utf8JsonWriter json, string name, IEnumerable<string> values)
    {
        json.WriteStartArray(name);
        foreach (string value in values)
        {
            json.WriteStringValue(value);
        }

        json.WriteEndArray();
    }

    /// <summary>The backend in use, and why.</summary>
    public static void Backend(this Utf8JsonWriter json, BackendReport report)
    {
        json.WriteStartObject("backend");
        json.WriteString("requested", report.Requested);
        json.WriteString("chosen", report.Chosen);
        json.WriteString("reason", report.Reason);
        json.WriteEndObject();
    }

    /// <summary>The comparison on the validation text.</summary>
    public static void Yardsticks(this Utf8JsonWriter json, IEnumerable<ReportYardstick> rows)
    {
        json.WriteStartArray("yardsticks");
        foreach (ReportYardstick row in rows)
        {
            json.WriteStartObject();
            json.WriteString("name", row.Name);
            json.Number("bits_per_byte", row.BitsPerByte);
            json.WriteBoolean("is_model", row.IsModel);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>Routing settings of a model; null for a dense one.</summary>
    public static void Routing(this Utf8JsonWriter json, ModelConfig config)
    {
        if (config.IsDense)
        {
            json.WriteNull("routing");
            return;
        }

        json.WriteStartObject("routing");
        json.WriteString("router", RouterFamily.NameOf(config.Router));
        json.WriteBoolean("causal", config.Router.IsCausal);
        if (config.Codebook is { } codebook)
        {
            json.WriteNumber("codes", codebook.Codes);
            json.WriteString("code_distance", Snake(codebook.Distance.ToString()));
            json.WriteBoolean("discrete_only", codebook.DiscreteOnly);
        }

        json.WriteNumber("experts", config.Experts);
        json.WriteNumber("null_slots", config.NullSlots);
        json.WriteNumber("top_k", config.TopK);
        json.WriteNumber("data_sparsity", config.DataSparsity);
        json.WriteString("null_kind", Snake(config.NullKind.ToString()));
        json.WriteBoolean("shared_null_logit", config.SharedNullLogit);
        json.WriteString("score", Snake(config.Score.ToString()));
        json.Number("threshold", ReportSource.Threshold(config) ?? double.NaN);
        json.WriteNumber("routed_scaling_factor", config.RoutedScale);
        json.WriteString("renormalize", Snake(config.Renormalize.ToString()));
        json.WriteString("selection_bias", Snake(config.SelectionBias.ToString()));
        json.WriteEndObject();
    }

    /// <summary>PascalCase as snake_case.</summary>
    public static string Snake(string pascal) => string.Concat(pascal.Select((c, i) =>
        char.IsUpper(c) ? (i > 0 ? "_" : string.Empty) + char.ToLowerInvariant(c) : c.ToString()));
}
