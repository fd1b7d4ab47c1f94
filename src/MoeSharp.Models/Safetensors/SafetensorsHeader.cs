using System.Globalization;
using System.Text.Json;
using System.Text.Unicode;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Parses and checks the header of a safetensors file.</summary>
/// <remarks>
/// A checkpoint comes from elsewhere, so every number in the header is hostile until proven otherwise. The choice: everything is
/// checked before any tensor byte is touched (lengths before allocation, products and sums in checked arithmetic, the tensors must tile the
/// data section exactly), and whatever does not pass is refused with the file, the tensor and the offset in the message. The rules are those
/// of the reference reader; duplicate names, which it does not catch, are refused too.
/// </remarks>
internal sealed class SafetensorsHeader
{
    /// <summary>Largest header the format allows.</summary>
    public const long MaximumBytes = 100_000_000;

    private readonly string _path;
    private readonly long _dataStart;

    private SafetensorsHeader(string path, long dataStart)
    {
        _path = path;
        _dataStart = dataStart;
    }

    /// <summary>The tensors in the order of their data.</summary>
    public List<SafetensorsEntry> Entries { get; } = [];

    /// <summary>The strings of <c>__metadata__</c>.</summary>
    public SortedDictionary<string, string> Metadata { get; } = new(StringComparer.Ordinal);

    /// <summary>Checks a header against the length of its file.</summary>
    /// <exception cref="CheckpointFormatException">A rule is broken.</exception>
    public static SafetensorsHeader Parse(string path, ReadOnlyMemory<byte> json, long fileLength)
    {
        var header = new SafetensorsHeader(path, 8L + json.Length);
        header.Read(json);
        header.CheckTiling(fileLength);
        return header;
    }

    private void Read(ReadOnlyMemory<byte> json)
    {
        ReadOnlySpan<byte> text = json.Span;
        if (!Utf8.IsValid(text))
        {
            throw Bad("the header is not valid UTF-8");
        }

        int end = text.TrimEnd((byte)' ').Length;
        if (end == 0 || text[end - 1] != (byte)'}')
        {
            throw Bad("the header is not a JSON object followed by nothing but spaces");
        }

        try
        {
            var options = new JsonDocumentOptions { MaxDepth = 8, AllowDuplicateProperties = false };
            using JsonDocument document = JsonDocument.Parse(json[..end], options);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw Bad("the header is not a JSON object");
            }

            foreach (JsonProperty property in document.RootElement.EnumerateObject())
            {
                if (property.Name == "__metadata__")
                {
                    ReadMetadata(property.Value);
                }
                else
                {
                    Entries.Add(ReadEntry(property.Name, property.Value));
                }
            }
        }
        catch (JsonException error)
        {
            throw Bad($"the header is not valid JSON ({error.Message})", error);
        }
        catch (InvalidOperationException error)
        {
            throw Bad($"the header holds text that is not valid Unicode ({error.Message})", error);
        }
    }

    private void ReadMetadata(JsonElement element)
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            throw Bad($"__metadata__ is {Kind(element)}, not an object of strings");
        }

        foreach (JsonProperty property in element.EnumerateObject())
        {
            if (property.Value.ValueKind != JsonValueKind.String)
            {
                throw Bad($"the value of '{property.Name}' in __metadata__ is {Kind(property.Value)}, not a string");
            }

            Metadata.Add(property.Name, property.Value.GetString()!);
        }
    }

    private SafetensorsEntry ReadEntry(string name, JsonElement element)
    {
        if (element.ValueKind != JsonValueKind.Object)
        {
            throw Bad($"tensor '{name}' is described by {Kind(element)}, not by an object");
        }

        string dtype = Member(name, element, "dtype", JsonValueKind.String).GetString()!;
        if (!SafetensorsTypes.TryBits(dtype, out int bits))
        {
            throw Bad($"tensor '{name}' has the unknown dtype '{dtype}'");
        }

        long[] shape = Integers(name, Member(name, element, "shape", JsonValueKind.Array), "shape");
        long[] offsets = Integers(name, Member(name, element, "data_offsets", JsonValueKind.Array), "data_offsets");
        if (offsets.Length != 2)
        {
            throw Bad($"tensor '{name}' has {offsets.Length} data_offsets instead of 2");
        }

        if (offsets[0] > offsets[1])
        {
            throw Bad($"tensor '{name}' begins at byte {offsets[0]} of the data, behind its end {offsets[1]}");
        }

        long bytes = Bytes(name, dtype, bits, shape);
        if (bytes != offsets[1] - offsets[0])
        {
            throw Bad(
                $"tensor '{name}' is {dtype}[{string.Join(", ", shape)}], {bytes} bytes, but its data_offsets {offsets[0]}..{offsets[1]} hold {offsets[1] - offsets[0]}");
        }

        if (offsets[1] > long.MaxValue - _dataStart)
        {
            throw Bad($"tensor '{name}' ends at byte {offsets[1]} of the data, behind the end of the file");
        }

        return new SafetensorsEntry(name, dtype, SafetensorsTypes.ToDType(dtype), new Shape(shape), _dataStart + offsets[0], bytes);
    }

    private long Bytes(string name, string dtype, int bits, long[] shape)
    {
        try
        {
            // A zero dimension must not hide an overflow of the others: Shape multiplies them as ones.
            _ = new Shape(shape);
            long total = bits;
            foreach (long dimension in shape)
            {
                total = checked(total * dimension);
            }

            return total % 8 == 0
                ? total / 8
                : throw Bad($"tensor '{name}' is {dtype}[{string.Join(", ", shape)}], {total} bits, which is no whole number of bytes");
        }
        catch (OverflowException error)
        {
            throw Bad($"the size of tensor '{name}', {dtype}[{string.Join(", ", shape)}], overflows 63 bits", error);
        }
    }

    private JsonElement Member(string name, JsonElement element, string key, JsonValueKind kind)
    {
        if (!element.TryGetProperty(key, out JsonElement value))
        {
            throw Bad($"tensor '{name}' has no '{key}'");
        }

        return value.ValueKind == kind ? value : throw Bad($"'{key}' of tensor '{name}' is {Kind(value)}");
    }

    private long[] Integers(string name, JsonElement array, string key)
    {
        var values = new long[array.GetArrayLength()];
        int count = 0;
        foreach (JsonElement item in array.EnumerateArray())
        {
            if (item.ValueKind != JsonValueKind.Number || !item.TryGetInt64(out long value) || value < 0)
            {
                throw Bad($"'{key}' of tensor '{name}' holds {item.GetRawText()}, which is no integer from 0 to 2^63 - 1");
            }

            values[count++] = value;
        }

        return values;
    }

    private void CheckTiling(long fileLength)
    {
        // JSON order is free; data order is what must be gapless. Zero-size tensors share an offset with their neighbour.
        Entries.Sort((a, b) => a.ByteOffset != b.ByteOffset ? a.ByteOffset.CompareTo(b.ByteOffset)
            : a.ByteCount != b.ByteCount ? a.ByteCount.CompareTo(b.ByteCount)
            : string.CompareOrdinal(a.Name, b.Name));
        long next = _dataStart;
        foreach (SafetensorsEntry entry in Entries)
        {
            if (entry.ByteOffset != next)
            {
                string fault = entry.ByteOffset > next ? "leaves a hole before it" : "overlaps the tensor before it";
                throw Bad(string.Create(
                    CultureInfo.InvariantCulture,
                    $"tensor '{entry.Name}' begins at byte {entry.ByteOffset} of the file but the data so far ends at {next}: it {fault}"));
            }

            next = entry.ByteOffset + entry.ByteCount;
        }

        if (next != fileLength)
        {
            string fault = next > fileLength ? "the file is cut off" : "there are bytes behind the last tensor";
            throw Bad($"the tensors end at byte {next}, the file at {fileLength}: {fault}");
        }
    }

    private static string Kind(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => "an object",
        JsonValueKind.Array => "an array",
        JsonValueKind.String => "a string",
        JsonValueKind.Number => "a number",
        JsonValueKind.Null => "null",
        _ => "a boolean",
    };

    private CheckpointFormatException Bad(string what, Exception? inner = null) => new($"{_path} is not a safetensors file: {what}.", inner);
}
