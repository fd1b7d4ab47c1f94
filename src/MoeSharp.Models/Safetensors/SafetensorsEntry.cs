using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>One tensor of a safetensors file, as its header describes it.</summary>
/// <param name="Name">Name of the tensor.</param>
/// <param name="DTypeName">Element type as spelled in the file: BF16, F32, F8_E4M3, ...</param>
/// <param name="DType">The engine's element type, or null when the engine has none (F16 can still be loaded as Float32 or Float64).</param>
/// <param name="Shape">Dimensions; empty for a scalar.</param>
/// <param name="ByteOffset">First byte, counted from the start of the file.</param>
/// <param name="ByteCount">Number of bytes.</param>
public sealed record SafetensorsEntry(string Name, string DTypeName, DType? DType, Shape Shape, long ByteOffset, long ByteCount);
