using System.Runtime.InteropServices;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Moves tensor elements to and from byte buffers, whatever the dtype, and converts between float types.</summary>
internal static class TensorBytes
{
    /// <summary>Copies elements out of a tensor as raw little-endian bytes.</summary>
    public static void CopyTo(Tensor source, long elementOffset, Span<byte> bytes)
    {
        switch (source.DType)
        {
            case DType.Float32: source.CopyTo(MemoryMarshal.Cast<byte, float>(bytes), elementOffset); break;
            case DType.Float64: source.CopyTo(MemoryMarshal.Cast<byte, double>(bytes), elementOffset); break;
            case DType.BFloat16: source.CopyTo(MemoryMarshal.Cast<byte, BFloat16>(bytes), elementOffset); break;
            case DType.Int32: source.CopyTo(MemoryMarshal.Cast<byte, int>(bytes), elementOffset); break;
            case DType.Int64: source.CopyTo(MemoryMarshal.Cast<byte, long>(bytes), elementOffset); break;
            default: source.CopyTo(bytes, elementOffset); break;
        }
    }

    /// <summary>Copies raw little-endian bytes of the tensor's own dtype into it.</summary>
    public static void CopyFrom(ReadOnlySpan<byte> bytes, Tensor destination, long elementOffset)
    {
        switch (destination.DType)
        {
            case DType.Float32: destination.CopyFrom(MemoryMarshal.Cast<byte, float>(bytes), elementOffset); break;
            case DType.Float64: destination.CopyFrom(MemoryMarshal.Cast<byte, double>(bytes), elementOffset); break;
            case DType.BFloat16: destination.CopyFrom(MemoryMarshal.Cast<byte, BFloat16>(bytes), elementOffset); break;
            case DType.Int32: destination.CopyFrom(MemoryMarshal.Cast<byte, int>(bytes), elementOffset); break;
            case DType.Int64: destination.CopyFrom(MemoryMarshal.Cast<byte, long>(bytes), elementOffset); break;
            default: destination.CopyFrom(bytes, elementOffset); break;
        }
    }

    /// <summary>Whether <see cref="Widen"/> reads a type.</summary>
    public static bool IsFloatName(string dtypeName) => dtypeName is "F32" or "F64" or "BF16" or "F16";

    /// <summary>Reads float elements of any stored type as doubles; exact.</summary>
    public static void Widen(string dtypeName, ReadOnlySpan<byte> bytes, Span<double> values)
    {
        switch (dtypeName)
        {
            case "F64": MemoryMarshal.Cast<byte, double>(bytes).CopyTo(values); break;
            case "F32": Widen(MemoryMarshal.Cast<byte, float>(bytes), values, x => x); break;
            case "BF16": Widen(MemoryMarshal.Cast<byte, BFloat16>(bytes), values, x => x); break;
            default: Widen(MemoryMarshal.Cast<byte, Half>(bytes), values, x => (double)x); break;
        }
    }

    /// <summary>Writes doubles into a float tensor, rounded to nearest even. <paramref name="bytes"/> is scratch for the same count of 8-byte elements.</summary>
    public static void Narrow(ReadOnlySpan<double> values, Tensor destination, long elementOffset, Span<byte> bytes)
    {
        switch (destination.DType)
        {
            case DType.Float64:
                destination.CopyFrom(values, elementOffset);
                break;
            case DType.Float32:
                Span<float> singles = MemoryMarshal.Cast<byte, float>(bytes)[..values.Length];
                for (int i = 0; i < singles.Length; i++)
                {
                    singles[i] = (float)values[i];
                }

                destination.CopyFrom<float>(singles, elementOffset);
                break;
            default:
                Span<BFloat16> brains = MemoryMarshal.Cast<byte, BFloat16>(bytes)[..values.Length];
                for (int i = 0; i < brains.Length; i++)
                {
                    brains[i] = (BFloat16)(float)values[i];
                }

                destination.CopyFrom<BFloat16>(brains, elementOffset);
                break;
        }
    }

    private static void Widen<T>(ReadOnlySpan<T> source, Span<double> values, Func<T, double> widen)
    {
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = widen(source[i]);
        }
    }
}
