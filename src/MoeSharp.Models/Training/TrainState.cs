using System.Globalization;
using System.Text.Json;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>The small part of a checkpoint: everything that is no tensor. Kept as strings in the metadata of the checkpoint file.</summary>
/// <param name="Step">Optimizer steps done.</param>
/// <param name="Seconds">Time spent so far; for display.</param>
/// <param name="SparsityWeight">Weight of the balance loss of a ReLU router with a target; 0 without.</param>
internal sealed record TrainState(long Step, double Seconds, double SparsityWeight = 0)
{
    private const string Format = "moesharp.checkpoint.1";

    /// <summary>Metadata of a checkpoint file.</summary>
    public Dictionary<string, string> ToMetadata(RoutingMeter meter) => new()
    {
        ["format"] = Format,
        ["step"] = Step.ToString(CultureInfo.InvariantCulture),
        ["seconds"] = Seconds.ToString("R", CultureInfo.InvariantCulture),
        ["sparsity_weight"] = SparsityWeight.ToString("R", CultureInfo.InvariantCulture),
        ["meter"] = JsonText.Line(json =>
        {
            json.WriteStartObject();
            json.WriteNumber("nats", meter.Nats);
            json.WriteNumber("micro_batches", meter.MicroBatches);
            json.WriteStartArray("counts");
            foreach (long count in meter.Counts.SelectMany(layer => layer))
            {
                json.WriteNumberValue(count);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }),
    };

    /// <summary>Reads metadata and fills the meter.</summary>
    /// <exception cref="CheckpointFormatException">The metadata is not that of a checkpoint.</exception>
    public static TrainState FromMetadata(IReadOnlyDictionary<string, string> metadata, RoutingMeter meter, string file)
    {
        if (metadata.GetValueOrDefault("format") != Format)
        {
            throw new CheckpointFormatException($"{file} is not a checkpoint of this version: its format is '{metadata.GetValueOrDefault("format")}', expected '{Format}'.");
        }

        bool valid = long.TryParse(metadata.GetValueOrDefault("step"), NumberStyles.None, CultureInfo.InvariantCulture, out long step);
        valid &= double.TryParse(metadata.GetValueOrDefault("seconds"), NumberStyles.Float, CultureInfo.InvariantCulture, out double seconds);
        if (!valid || !(seconds >= 0 && seconds < TimeSpan.MaxValue.TotalSeconds))
        {
            throw new CheckpointFormatException($"{file}: 'step' or 'seconds' in the metadata is no number >= 0.");
        }

        valid = double.TryParse(metadata.GetValueOrDefault("sparsity_weight") ?? "0", NumberStyles.Float, CultureInfo.InvariantCulture, out double weight);
        if (!valid || !(weight >= 0 && double.IsFinite(weight)))
        {
            throw new CheckpointFormatException($"{file}: 'sparsity_weight' in the metadata is no number >= 0.");
        }

        ReadMeter(metadata.GetValueOrDefault("meter") ?? "{}", meter, file);
        return new TrainState(step, seconds, weight);
    }

    private static void ReadMeter(string text, RoutingMeter meter, string file)
    {
        using JsonDocument document = JsonFields.Parse(text, file);
        var fields = new JsonFields(document.RootElement, file, "meter.");
        meter.Nats = fields.Number("nats", _ => true, "a number");
        meter.MicroBatches = fields.Integer("micro_batches", 0, long.MaxValue);
        long[] counts = fields.TryGet("counts", out JsonElement array) && array.ValueKind == JsonValueKind.Array
            ? [.. array.EnumerateArray().Select(item => item.ValueKind == JsonValueKind.Number && item.TryGetInt64(out long count) ? count : -1)]
            : [];
        if (counts.Length != meter.Counts.Sum(layer => layer.Length) || counts.Any(count => count < 0))
        {
            throw new CheckpointFormatException($"{file}: the routing counts in the metadata do not fit the model.");
        }

        int next = 0;
        foreach (long[] layer in meter.Counts)
        {
            counts.AsSpan(next, layer.Length).CopyTo(layer);
            next += layer.Length;
        }
    }
}
