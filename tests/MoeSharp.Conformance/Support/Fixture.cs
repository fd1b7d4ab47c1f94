using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;
using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>A golden safetensors file, read with the least code that can read it, so that a fault of the engine's reader cannot hide here.</summary>
public sealed class Fixture
{
    private readonly byte[] _bytes;
    private readonly JsonElement _header;
    private readonly int _dataStart;

    private Fixture(byte[] bytes)
    {
        _bytes = bytes;
        int length = checked((int)BinaryPrimitives.ReadUInt64LittleEndian(bytes));
        _header = JsonSerializer.Deserialize<JsonElement>(bytes.AsSpan(8, length));
        _dataStart = 8 + length;
    }

    /// <summary>Reads a file of a folder of fixtures.</summary>
    public static Fixture Open(string file, string folder = "null-layer") => new(File.ReadAllBytes(PathOf(file, folder)));

    /// <summary>Full path of a file of a folder of fixtures.</summary>
    public static string PathOf(string file, string folder = "null-layer") => Path.Combine(AppContext.BaseDirectory, "fixtures", folder, file);

    /// <summary>Values of a tensor as doubles; exact for every stored type.</summary>
    public double[] Values(string name)
    {
        JsonElement entry = _header.GetProperty(name), offsets = entry.GetProperty("data_offsets");
        byte[] data = _bytes[(_dataStart + offsets[0].GetInt32())..(_dataStart + offsets[1].GetInt32())];
        return Type(name) switch
        {
            "F64" => MemoryMarshal.Cast<byte, double>(data).ToArray(),
            "F32" => Array.ConvertAll(MemoryMarshal.Cast<byte, float>(data).ToArray(), x => (double)x),
            "BF16" => Array.ConvertAll(MemoryMarshal.Cast<byte, ushort>(data).ToArray(), x => (double)(float)BFloat16.FromBits(x)),
            "I64" => Array.ConvertAll(MemoryMarshal.Cast<byte, long>(data).ToArray(), x => (double)x),
            string other => throw new NotSupportedException($"{name} is stored as {other}."),
        };
    }

    /// <summary>How a tensor is stored.</summary>
    public string Type(string name) => _header.GetProperty(name).GetProperty("dtype").GetString()!;

    /// <summary>Whether the file has a tensor.</summary>
    public bool Has(string name) => _header.TryGetProperty(name, out _);
}
