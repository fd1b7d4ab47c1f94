using System.Globalization;
using System.Text.Json;
using MoeSharp.Models;

namespace MoeSharp.Experiments;

/// <summary>Names of numbers that the framework knows.</summary>
internal static class Metric
{
    /// <summary>What decides, on evaluation data; lower is better. Every cell gives it.</summary>
    public const string Loss = "loss";

    /// <summary>Mean training loss at the end of training, on data seen once.</summary>
    public const string TrainLoss = "train_loss";

    /// <summary>Real experts per token and layer, measured on evaluation data.</summary>
    public const string RealExperts = "real_experts";

    /// <summary>Mean of real experts times their width, per token and layer.</summary>
    public const string Width = "width";

    /// <summary>Forward FLOPs of the experts, per token and layer.</summary>
    public const string Flops = "expert_flops";

    /// <summary>Seconds the cell took; of interest, never compared.</summary>
    public const string Seconds = "seconds";

    /// <summary>Series: rows per expert and token on evaluation data, experts in descending order, mean over layers.</summary>
    public const string ExpertRows = "expert_rows";
}

/// <summary>Which cell: study, arm, balance weight, seed.</summary>
internal sealed record CellKey(string Study, string Arm, double Weight, ulong Seed)
{
    /// <summary>Name of its file.</summary>
    public string FileName => string.Create(CultureInfo.InvariantCulture, $"{Arm}-w{Weight:R}-s{Seed}.json");

    /// <summary>As messages name it.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Study}, {Arm}, balance weight {Weight:R}, seed {Seed}");
}

/// <summary>The numbers of one cell.</summary>
internal sealed class CellResult
{
    /// <summary>Single numbers by name.</summary>
    public SortedDictionary<string, double> Numbers { get; } = new(StringComparer.Ordinal);

    /// <summary>Lists of numbers by name: curves, pictures, counts.</summary>
    public SortedDictionary<string, IReadOnlyList<double>> Series { get; } = new(StringComparer.Ordinal);

    /// <summary>A number.</summary>
    /// <exception cref="KeyNotFoundException">The cell did not give it.</exception>
    public double this[string name]
    {
        get => Numbers.TryGetValue(name, out double value) ? value : throw new KeyNotFoundException($"A cell gave no '{name}'; it has {string.Join(", ", Numbers.Keys)}.");
        set => Numbers[name] = value;
    }

    /// <summary>A number, or NaN.</summary>
    public double Get(string name) => Numbers.GetValueOrDefault(name, double.NaN);

    /// <summary>Parses a file.</summary>
    public static CellResult FromJson(string json, string file)
    {
        using JsonDocument document = JsonFields.Parse(json, file);
        var root = new JsonFields(document.RootElement, file);
        var result = new CellResult();
        JsonFields numbers = root.Object("numbers"), series = root.Object("series");
        foreach (string name in numbers.Unread)
        {
            result.Numbers[name] = numbers.Number(name, _ => true, "a number", double.NaN);
        }

        foreach (string name in series.Unread)
        {
            result.Series[name] = series.Numbers(name);
        }

        return result;
    }

    /// <summary>The text of a file. Numbers round-trip; one that is not finite is null.</summary>
    public string ToJson() => JsonText.Indented(json =>
    {
        json.WriteStartObject();
        Write(json);
        json.WriteEndObject();
    });

    /// <summary>Writes both dictionaries as members.</summary>
    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject("numbers");
        foreach ((string name, double value) in Numbers)
        {
            json.WritePropertyName(name);
            json.WriteRawValue(Text(value));
        }

        json.WriteEndObject();
        json.WriteStartObject("series");
        foreach ((string name, IReadOnlyList<double> values) in Series)
        {
            json.WritePropertyName(name);
            json.WriteRawValue($"[{string.Join(", ", values.Select(Text))}]");
        }

        json.WriteEndObject();
    }

    private static string Text(double value) => double.IsFinite(value) ? value.ToString("R", CultureInfo.InvariantCulture) : "null";
}
