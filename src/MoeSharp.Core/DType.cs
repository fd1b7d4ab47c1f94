namespace MoeSharp.Core;

/// <summary>Element type of a <see cref="Tensor"/>.</summary>
public enum DType
{
    /// <summary>IEEE 754 binary32; the working type of the CPU and CUDA backends.</summary>
    Float32,

    /// <summary>IEEE 754 binary64; the working type of the reference backend.</summary>
    Float64,

    /// <summary>Brain float: the upper 16 bits of a binary32 (<see cref="Core.BFloat16"/>).</summary>
    BFloat16,

    /// <summary>Signed 32-bit integer: token ids, expert ids, row maps, counts.</summary>
    Int32,

    /// <summary>Signed 64-bit integer: counters and interchange.</summary>
    Int64,

    /// <summary>Unsigned byte: raw data.</summary>
    UInt8,
}

/// <summary>Facts about each <see cref="DType"/>.</summary>
public static class DTypes
{
    /// <summary>Size of one element in bytes.</summary>
    public static int Size(this DType type) => type switch
    {
        DType.Float32 or DType.Int32 => 4,
        DType.Float64 or DType.Int64 => 8,
        DType.BFloat16 => 2,
        DType.UInt8 => 1,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Unknown dtype."),
    };

    /// <summary>Name in safetensors headers: F32, F64, BF16, I32, I64, U8.</summary>
    public static string SafetensorsName(this DType type) => type switch
    {
        DType.Float32 => "F32",
        DType.Float64 => "F64",
        DType.BFloat16 => "BF16",
        DType.Int32 => "I32",
        DType.Int64 => "I64",
        DType.UInt8 => "U8",
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "Unknown dtype."),
    };

    /// <summary>Whether the type holds real numbers.</summary>
    public static bool IsFloat(this DType type) => type is DType.Float32 or DType.Float64 or DType.BFloat16;

    /// <summary>The dtype of a CLR element type.</summary>
    /// <exception cref="ArgumentException">The CLR type has no dtype.</exception>
    public static DType Of<T>()
        where T : unmanaged
    {
        if (typeof(T) == typeof(float))
        {
            return DType.Float32;
        }

        if (typeof(T) == typeof(double))
        {
            return DType.Float64;
        }

        if (typeof(T) == typeof(BFloat16))
        {
            return DType.BFloat16;
        }

        if (typeof(T) == typeof(int))
        {
            return DType.Int32;
        }

        if (typeof(T) == typeof(long))
        {
            return DType.Int64;
        }

        if (typeof(T) == typeof(byte))
        {
            return DType.UInt8;
        }

        throw new ArgumentException($"{typeof(T).Name} has no dtype; use float, double, BFloat16, int, long or byte.");
    }
}
