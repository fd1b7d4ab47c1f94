using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>Runs of bfloat16 to float32 and back, vectorised; the same bits as <see cref="BFloat16"/> for every input.</summary>
/// <remarks>Widening is exact. Narrowing rounds to nearest, ties to even; NaN becomes a quiet NaN with its sign.</remarks>
internal static unsafe class BFloat16Rows
{
    private const int Lanes = 16;

    /// <summary>destination[i] = source[i].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Widen(ushort* source, float* destination, nint count)
    {
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(Vector256.Load(source + i));
            (low << 16).AsSingle().Store(destination + i);
            (high << 16).AsSingle().Store(destination + i + (Lanes / 2));
        }

        for (; i < count; i++)
        {
            destination[i] = BitConverter.UInt32BitsToSingle((uint)source[i] << 16);
        }
    }

    /// <summary>destination[i] = source[i], rounded.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Narrow(float* source, ushort* destination, nint count)
    {
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            Vector256.Narrow(Round(Vector256.Load(source + i)), Round(Vector256.Load(source + i + (Lanes / 2)))).Store(destination + i);
        }

        for (; i < count; i++)
        {
            destination[i] = ((BFloat16)source[i]).Bits;
        }
    }

    /// <summary>Sixteen pairs (first[i], second[i]), the first one in the lower half.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Pairs(ushort* first, ushort* second) => Wide(first) | (Wide(second) << 16);

    /// <summary>destination[i] = the pair (first[i], second[i]), the first one in the lower half; second may be null for zeros.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Interleave(ushort* first, ushort* second, uint* destination, nint count)
    {
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            (second == null ? Wide(first + i) : Pairs(first + i, second + i)).Store(destination + i);
        }

        for (; i < count; i++)
        {
            destination[i] = first[i] | (second == null ? 0u : (uint)second[i] << 16);
        }
    }

    /// <summary>Eight rounded numbers as the low halves of eight words.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<uint> Round(Vector256<float> value)
    {
        Vector256<uint> bits = value.AsUInt32();
        Vector256<uint> rounded = (bits + Vector256.Create(0x7FFFu) + ((bits >> 16) & Vector256<uint>.One)) >> 16;
        Vector256<uint> quiet = (bits >> 16) | Vector256.Create(0x40u);
        return Vector256.ConditionalSelect(Vector256.Equals(value, value).AsUInt32(), rounded, quiet);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Wide(ushort* numbers)
    {
        Vector256<ushort> narrow = Vector256.Load(numbers);
        return Avx512F.IsSupported ? Avx512F.ConvertToVector512UInt32(narrow) : Vector512.Create(Vector256.WidenLower(narrow), Vector256.WidenUpper(narrow));
    }
}
