using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Cpu;

/// <summary>How numbers are stored, as a type: loops over rows read and write vectors of eight float32 lanes through it.</summary>
internal interface IElement
{
    /// <summary>Bytes of a number.</summary>
    static abstract int Size { get; }

    /// <summary>Eight numbers from an index on.</summary>
    static abstract Vector256<float> Load(nint row, nint index);

    /// <summary>The first few of eight; zeros behind them.</summary>
    static abstract Vector256<float> LoadPart(nint row, nint index, int count);

    /// <summary>Writes eight numbers, rounded.</summary>
    static abstract void Store(Vector256<float> value, nint row, nint index);

    /// <summary>Writes the first few lanes.</summary>
    static abstract void StorePart(Vector256<float> value, nint row, nint index, int count);
}

/// <summary>Numbers as they are.</summary>
internal readonly unsafe struct Float32Element : IElement
{
    /// <inheritdoc/>
    public static int Size => sizeof(float);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(nint row, nint index) => Vector256.Load((float*)row + index);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadPart(nint row, nint index, int count) => VectorMath.LoadPart((float*)row + index, count);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<float> value, nint row, nint index) => value.Store((float*)row + index);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StorePart(Vector256<float> value, nint row, nint index, int count) => VectorMath.StorePart(value, (float*)row + index, count);
}

/// <summary>The upper halves of numbers, rounded to nearest even.</summary>
internal readonly unsafe struct BFloat16Element : IElement
{
    /// <inheritdoc/>
    public static int Size => sizeof(ushort);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(nint row, nint index) => Widen(Vector128.Load((ushort*)row + index));

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadPart(nint row, nint index, int count)
    {
        Vector128<ushort> part = default;
        Unsafe.CopyBlockUnaligned(&part, (ushort*)row + index, (uint)count * sizeof(ushort));
        return Widen(part);
    }

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<float> value, nint row, nint index) => Narrow(value).Store((ushort*)row + index);

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StorePart(Vector256<float> value, nint row, nint index, int count)
    {
        Vector128<ushort> part = Narrow(value);
        Unsafe.CopyBlockUnaligned((ushort*)row + index, &part, (uint)count * sizeof(ushort));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Widen(Vector128<ushort> bits)
    {
        (Vector128<uint> low, Vector128<uint> high) = Vector128.Widen(bits);
        return (Vector256.Create(low, high) << 16).AsSingle();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ushort> Narrow(Vector256<float> value)
    {
        Vector256<uint> rounded = BFloat16Rows.Round(value);
        return Vector128.Narrow(rounded.GetLower(), rounded.GetUpper());
    }
}
