using System.Text.Json;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>The codebook of a model in <c>config.json</c>: the object "codebook", there when the router is "vq".</summary>
internal static class CodebookJson
{
    private static readonly (string Spelling, CodeDistance Value)[] s_distances = [("euclidean", CodeDistance.Euclidean), ("cosine", CodeDistance.Cosine)];

    /// <summary>Writes the object.</summary>
    public static void Write(Utf8JsonWriter json, CodebookSpec codebook)
    {
        json.WriteStartObject("codebook");
        json.WriteNumber("codes", codebook.Codes);
        json.WriteNumber("width", codebook.Width);
        json.WriteString("distance", Array.Find(s_distances, pair => pair.Value == codebook.Distance).Spelling);
        json.WriteNumber("mix", codebook.Mix);
        json.WriteBoolean("literal_mix", codebook.LiteralMix);
        json.WriteNumber("commitment", codebook.Commitment);
        json.WriteNumber("usage_decay", codebook.UsageDecay);
        json.WriteBoolean("discrete_only", codebook.DiscreteOnly);
        if (codebook.ExpertOfCode is not null)
        {
            json.WriteStartArray("expert_of_code");
            foreach (int expert in codebook.ExpertOfCode)
            {
                json.WriteNumberValue(expert);
            }

            json.WriteEndArray();
        }

        json.WriteEndObject();
    }

    /// <summary>Reads the object over what the router starts from. Ranges between fields are checked with the model.</summary>
    public static CodebookSpec Read(JsonFields fields, CodebookSpec start)
    {
        if (!fields.Has("codebook"))
        {
            return start;
        }

        JsonFields own = fields.Object("codebook");
        return start with
        {
            Codes = own.Int("codes", 1, start.Codes),
            Width = own.Int("width", 0, start.Width),
            Distance = own.Choice("distance", s_distances, start.Distance),
            Mix = own.Number("mix", x => x is >= 0 and <= 1, "a number in [0, 1]", start.Mix),
            LiteralMix = own.Boolean("literal_mix", start.LiteralMix),
            Commitment = own.Number("commitment", x => x >= 0, "a number >= 0", start.Commitment),
            UsageDecay = own.Number("usage_decay", x => x is >= 0 and < 1, "a number in [0, 1)", start.UsageDecay),
            DiscreteOnly = own.Boolean("discrete_only", start.DiscreteOnly),
            ExpertOfCode = own.Has("expert_of_code") ? [.. own.Numbers("expert_of_code").Select(expert => checked((int)expert))] : start.ExpertOfCode,
        };
    }
}
