using System.Globalization;
using System.Text.Json;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Reads the fields of one JSON object and turns every mistake into a sentence that names file and field.</summary>
/// <remarks>A configuration is edited by hand. Fields that nobody asked for are remembered, so that a caller can list them.</remarks>
internal sealed class JsonFields
{
    private readonly string _file;
    private readonly string _prefix;
    private readonly JsonElement _object;
    private readonly HashSet<string> _seen = new(StringComparer.Ordinal);

    public JsonFields(JsonElement element, string file, string prefix = "")
    {
        _file = file;
        _prefix = prefix;
        _object = element;
        if (element.ValueKind != JsonValueKind.Object)
        {
            throw new CheckpointFormatException($"{file}: expected a JSON object{(prefix.Length > 0 ? $" at '{prefix.TrimEnd('.')}'" : string.Empty)}.");
        }
    }

    /// <summary>Names of fields that were not read, in file order.</summary>
    public IReadOnlyList<string> Unread => [.. _object.EnumerateObject().Select(item => item.Name).Where(name => !_seen.Contains(name))];

    /// <summary>Parses text to a document; comments and duplicate names are refused.</summary>
    public static JsonDocument Parse(string json, string file)
    {
        try
        {
            return JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = 16, AllowDuplicateProperties = false });
        }
        catch (JsonException error)
        {
            throw new CheckpointFormatException($"{file} is not valid JSON: {error.Message}", error);
        }
    }

    public bool Has(string name) => TryGet(name, out _);

    /// <summary>An integer in a range; the default when the field is missing, or an error when there is none.</summary>
    public long Integer(string name, long minimum, long maximum, long? missing = null)
    {
        if (!TryGet(name, out JsonElement value))
        {
            return missing ?? throw Missing(name);
        }

        return value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out long number) && number >= minimum && number <= maximum
            ? number
            : throw Bad(name, value, string.Create(CultureInfo.InvariantCulture, $"an integer from {minimum} to {maximum}"));
    }

    public int Int(string name, int minimum, int? missing = null) => (int)Integer(name, minimum, int.MaxValue, missing);

    /// <summary>A finite number that passes a test.</summary>
    public double Number(string name, Func<double, bool> valid, string expected, double? missing = null)
    {
        if (!TryGet(name, out JsonElement value))
        {
            return missing ?? throw Missing(name);
        }

        return value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number) && valid(number)
            ? number
            : throw Bad(name, value, expected);
    }

    public bool Boolean(string name, bool missing)
    {
        if (!TryGet(name, out JsonElement value))
        {
            return missing;
        }

        return value.ValueKind is JsonValueKind.True or JsonValueKind.False ? value.GetBoolean() : throw Bad(name, value, "true or false");
    }

    public string Text(string name, string? missing = null)
    {
        if (!TryGet(name, out JsonElement value))
        {
            return missing ?? throw Missing(name);
        }

        return value.ValueKind == JsonValueKind.String ? value.GetString()! : throw Bad(name, value, "a text");
    }

    /// <summary>One of a few spellings.</summary>
    public T Choice<T>(string name, IReadOnlyList<(string Spelling, T Value)> choices, T missing)
    {
        if (!TryGet(name, out JsonElement value))
        {
            return missing;
        }

        string expected = "one of " + string.Join(", ", choices.Select(choice => $"\"{choice.Spelling}\""));
        if (value.ValueKind == JsonValueKind.String)
        {
            foreach ((string spelling, T choice) in choices)
            {
                if (value.ValueEquals(spelling))
                {
                    return choice;
                }
            }
        }

        throw Bad(name, value, expected);
    }

    public IReadOnlyList<string> Texts(string name)
    {
        if (!TryGet(name, out JsonElement value))
        {
            throw Missing(name);
        }

        if (value.ValueKind != JsonValueKind.Array || value.EnumerateArray().Any(item => item.ValueKind != JsonValueKind.String))
        {
            throw Bad(name, value, "a list of texts");
        }

        return [.. value.EnumerateArray().Select(item => item.GetString()!)];
    }

    /// <summary>A list of numbers; null stands for NaN.</summary>
    public IReadOnlyList<double> Numbers(string name) =>
        TryGet(name, out JsonElement value) ? Numbers(name, value) : throw Missing(name);

    /// <summary>A list of lists of numbers.</summary>
    public IReadOnlyList<IReadOnlyList<double>> NumberTable(string name) =>
        [.. Items(name, "a list of lists of numbers").Select(row => Numbers(name, row))];

    /// <summary>A list of objects.</summary>
    public IReadOnlyList<JsonFields> Objects(string name) =>
        [.. Items(name, "a list of objects").Select(item => new JsonFields(item, _file, $"{_prefix}{name}[]."))];

    /// <summary>Bytes in base 64.</summary>
    public byte[] Bytes(string name)
    {
        if (!TryGet(name, out JsonElement value))
        {
            throw Missing(name);
        }

        return value.ValueKind == JsonValueKind.String && value.TryGetBytesFromBase64(out byte[]? bytes)
            ? bytes
            : throw Bad(name, value, "bytes in base 64");
    }

    /// <summary>A nested object as its own field reader.</summary>
    public JsonFields Object(string name) =>
        TryGet(name, out JsonElement value) ? new JsonFields(value, _file, $"{_prefix}{name}.") : throw Missing(name);

    /// <summary>The raw element of a field.</summary>
    public bool TryGet(string name, out JsonElement value)
    {
        _seen.Add(name);
        return _object.TryGetProperty(name, out value) && value.ValueKind != JsonValueKind.Null;
    }

    private JsonElement.ArrayEnumerator Items(string name, string expected)
    {
        if (!TryGet(name, out JsonElement value))
        {
            throw Missing(name);
        }

        return value.ValueKind == JsonValueKind.Array ? value.EnumerateArray() : throw Bad(name, value, expected);
    }

    private double[] Numbers(string name, JsonElement list)
    {
        bool valid = list.ValueKind == JsonValueKind.Array
            && list.EnumerateArray().All(item => item.ValueKind is JsonValueKind.Number or JsonValueKind.Null);
        return valid
            ? [.. list.EnumerateArray().Select(item => item.ValueKind == JsonValueKind.Null ? double.NaN : item.GetDouble())]
            : throw Bad(name, list, "a list of numbers");
    }

    private CheckpointFormatException Missing(string name) => new($"{_file}: '{_prefix}{name}' is missing.");

    private CheckpointFormatException Bad(string name, JsonElement value, string expected)
    {
        string text = value.GetRawText();
        return new($"{_file}: '{_prefix}{name}' is {(text.Length > 60 ? text[..60] + "..." : text)}, expected {expected}.");
    }
}
