using System.Text;
using System.Text.Json;

namespace MoeSharp.Models;

/// <summary>The lines of <c>metrics.jsonl</c>. A number that is not finite is written as null and read as NaN.</summary>
internal static class MetricsJson
{
    public static string Write(TrainMetrics metrics) => JsonText.Line(json =>
    {
        Begin(json, metrics.Step, "train");
        Number(json, "train_bpb", metrics.TrainBitsPerByte);
        Number(json, "learning_rate", metrics.LearningRate);
        Number(json, "gradient_norm", metrics.GradientNorm);
        Number(json, "tokens_per_second", metrics.TokensPerSecond);
        Number(json, "elapsed_seconds", metrics.ElapsedSeconds);
        Number(json, "load_balance", metrics.LoadBalance);
        Number(json, "mean_null_share", metrics.MeanNullShare);
        Numbers(json, "null_share", metrics.NullShare);
        Numbers(json, "real_experts", metrics.RealExperts);
        Table(json, "expert_load", metrics.ExpertLoad);
        json.WriteEndObject();
    });

    public static string Write(EvaluationMetrics metrics) => JsonText.Line(json =>
    {
        Begin(json, metrics.Step, "eval");
        json.WriteBoolean("final", metrics.IsFinal);
        Number(json, "validation_bpb", metrics.Result.BitsPerByte);
        json.WriteNumber("bytes", metrics.Result.Bytes);
        Number(json, "mean_null_share", metrics.Result.NullShare);
        Number(json, "real_experts_per_token", metrics.Result.RealExpertsPerToken);
        Numbers(json, "null_share", metrics.Result.NullShareByLayer);
        Numbers(json, "null_share_by_class", metrics.Result.NullShareByClass);
        Table(json, "real_experts_by_class", metrics.Result.RealExpertsByClass);

        // Layers * experts * classes numbers: once per run.
        if (metrics.IsFinal)
        {
            Table(json, "expert_slots", metrics.Result.ExpertSlots);
        }

        json.WriteEndObject();
    });

    public static string Write(FinalMetrics metrics) => JsonText.Line(json =>
    {
        Begin(json, metrics.Step, "final");
        Number(json, "tokens_per_second", metrics.TokensPerSecond);
        json.WriteStartArray("yardsticks");
        foreach (YardstickRow row in metrics.Yardsticks)
        {
            json.WriteStartObject();
            json.WriteString("name", row.Name);
            Number(json, "bpb", row.BitsPerByte);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteString("sample", Encoding.UTF8.GetString(metrics.Sample));
        json.WriteBase64String("sample_bytes", metrics.Sample);
        Numbers(json, "sample_null_share", metrics.SampleNullShare);
        Table(json, "sample_real_experts", metrics.SampleRealExperts);
        json.WriteBase64String("excerpt_bytes", metrics.Excerpt);
        Table(json, "excerpt_real_experts", metrics.ExcerptRealExperts);
        json.WriteEndObject();
    });

    public static TrainMetrics ReadTrain(JsonFields fields) => new(
        Step(fields),
        Value(fields, "train_bpb"),
        Value(fields, "learning_rate"),
        Value(fields, "gradient_norm"),
        Value(fields, "tokens_per_second"),
        Value(fields, "elapsed_seconds"),
        Value(fields, "load_balance"),
        Value(fields, "mean_null_share"),
        fields.Numbers("null_share"),
        fields.NumberTable("expert_load"))
    {
        RealExperts = fields.Has("real_experts") ? fields.Numbers("real_experts") : [],
    };

    public static EvaluationMetrics ReadEvaluation(JsonFields fields) => new(
        Step(fields),
        fields.Boolean("final", false),
        new EvaluationResult(
            Value(fields, "validation_bpb"),
            fields.Integer("bytes", 0, long.MaxValue),
            Value(fields, "mean_null_share"),
            fields.Numbers("null_share_by_class"),
            fields.Numbers("null_share"),
            Value(fields, "real_experts_per_token"))
        {
            RealExpertsByClass = OptionalTable(fields, "real_experts_by_class"),
            ExpertSlots = OptionalTable(fields, "expert_slots"),
        });

    public static FinalMetrics ReadFinal(JsonFields fields) => new(
        Step(fields),
        [.. fields.Objects("yardsticks").Select(row => new YardstickRow(row.Text("name"), Value(row, "bpb")))],
        fields.Bytes("sample_bytes"),
        fields.Numbers("sample_null_share"),
        Value(fields, "tokens_per_second"))
    {
        SampleRealExperts = OptionalTable(fields, "sample_real_experts"),
        Excerpt = fields.Has("excerpt_bytes") ? fields.Bytes("excerpt_bytes") : [],
        ExcerptRealExperts = OptionalTable(fields, "excerpt_real_experts"),
    };

    private static IReadOnlyList<IReadOnlyList<double>> OptionalTable(JsonFields fields, string name) =>
        fields.Has(name) ? fields.NumberTable(name) : [];

    private static long Step(JsonFields fields) => fields.Integer("step", 0, long.MaxValue);

    private static double Value(JsonFields fields, string name) => fields.Number(name, _ => true, "a number or null", double.NaN);

    private static void Begin(Utf8JsonWriter json, long step, string kind)
    {
        json.WriteStartObject();
        json.WriteNumber("step", step);
        json.WriteString("kind", kind);
    }

    private static void Number(Utf8JsonWriter json, string name, double value)
    {
        json.WritePropertyName(name);
        Value(json, value);
    }

    private static void Numbers(Utf8JsonWriter json, string name, IReadOnlyList<double> values)
    {
        json.WritePropertyName(name);
        Values(json, values);
    }

    private static void Table(Utf8JsonWriter json, string name, IReadOnlyList<IReadOnlyList<double>> rows)
    {
        json.WriteStartArray(name);
        foreach (IReadOnlyList<double> row in rows)
        {
            Values(json, row);
        }

        json.WriteEndArray();
    }

    private static void Values(Utf8JsonWriter json, IReadOnlyList<double> values)
    {
        json.WriteStartArray();
        foreach (double value in values)
        {
            Value(json, value);
        }

        json.WriteEndArray();
    }

    private static void Value(Utf8JsonWriter json, double value)
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
}
