using System.Collections.Frozen;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>The element types of the safetensors format: bits per element, and the engine's dtype where there is one.</summary>
internal static class SafetensorsTypes
{
    private static readonly FrozenDictionary<string, int> s_bits = new Dictionary<string, int>(StringComparer.Ordinal)
    {
        ["BOOL"] = 8, ["U8"] = 8, ["I8"] = 8,
        ["F8_E4M3"] = 8, ["F8_E5M2"] = 8, ["F8_E8M0"] = 8, ["F8_E4M3FNUZ"] = 8, ["F8_E5M2FNUZ"] = 8,
        ["F4"] = 4, ["F6_E2M3"] = 6, ["F6_E3M2"] = 6,
        ["I16"] = 16, ["U16"] = 16, ["F16"] = 16, ["BF16"] = 16,
        ["I32"] = 32, ["U32"] = 32, ["F32"] = 32,
        ["I64"] = 64, ["U64"] = 64, ["F64"] = 64, ["C64"] = 64,
    }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>Bits per element; false for a name the format does not know.</summary>
    public static bool TryBits(string name, out int bits) => s_bits.TryGetValue(name, out bits);

    /// <summary>The engine's dtype for a name, or null.</summary>
    public static DType? ToDType(string name) => name switch
    {
        "F32" => DType.Float32,
        "F64" => DType.Float64,
        "BF16" => DType.BFloat16,
        "I32" => DType.Int32,
        "I64" => DType.Int64,
        "U8" => DType.UInt8,
        _ => null,
    };
}
