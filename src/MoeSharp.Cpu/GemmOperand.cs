namespace MoeSharp.Cpu;

/// <summary>What a packed number is made of.</summary>
internal enum GemmReading
{
    /// <summary>Stored float32, packed as it is.</summary>
    Float32,

    /// <summary>Stored bfloat16, packed as float32.</summary>
    Widened,

    /// <summary>Stored bfloat16, packed as pairs of neighbours in k, the lower k in the lower half.</summary>
    Pairs,
}

/// <summary>One source matrix of a product, read in place: transposed or not, rows gathered or not, float32 or bfloat16.</summary>
/// <remarks>
/// "Line" is a stored row. With <see cref="DepthMajor"/> a line holds all outer indices (rows of A, columns of B) of one k;
/// without, it holds all k of one outer index. <see cref="Lines"/>, when given, names the stored row of each line. A "step" is what a
/// packed number covers of k: one number, or a pair.
/// </remarks>
internal unsafe struct GemmOperand
{
    /// <summary>First element.</summary>
    public void* Data;

    /// <summary>Distance between stored rows, in elements.</summary>
    public nint Stride;

    /// <summary>Stored row of each line, or null for 0, 1, 2, ...</summary>
    public int* Lines;

    /// <summary>Whether lines run over k.</summary>
    public bool DepthMajor;

    /// <summary>Storage and packing.</summary>
    public GemmReading Reading;

    /// <summary>Length of k. Even where a line of pairs runs along k.</summary>
    public int Depth;

    /// <summary>Bytes of a stored number.</summary>
    public readonly int Size => Reading == GemmReading.Float32 ? sizeof(float) : sizeof(ushort);

    /// <summary>Distance between stored rows, in bytes.</summary>
    public readonly nint LineBytes => Stride * Size;

    /// <summary>Steps [start, start + count) of an outer index, where lines run along k: the line itself, or what staging has room for.</summary>
    public readonly float* Steps(int outer, int start, int count, float* staging)
    {
        if (Reading != GemmReading.Widened)
        {
            return (float*)Line(outer, start);
        }

        BFloat16Rows.Widen((ushort*)Line(outer, start), staging, count);
        return staging;
    }

    /// <summary>A step of an outer index as it is stored, where lines run along k.</summary>
    public readonly void* Line(int outer, int start) => Stored(outer) + ((nint)start * (Reading == GemmReading.Widened ? sizeof(ushort) : sizeof(float)));

    /// <summary>Outer indices [first, first + count) of a step, where lines run over k.</summary>
    public readonly float* Across(nint step, int first, int count, float* staging)
    {
        switch (Reading)
        {
            case GemmReading.Float32:
                return (float*)Stored(step) + first;
            case GemmReading.Widened:
                BFloat16Rows.Widen((ushort*)Stored(step) + first, staging, count);
                return staging;
            default:
                BFloat16Rows.Interleave(HalfLine(2 * step, first), HalfLine((2 * step) + 1, first), (uint*)staging, count);
                return staging;
        }
    }

    /// <summary>Outer indices from <paramref name="first"/> on of one k of bfloat16, where lines run over k; null behind the last k.</summary>
    public readonly ushort* HalfLine(nint k, int first) => k < Depth ? (ushort*)Stored(k) + first : null;

    private readonly byte* Stored(nint index) => (byte*)Data + ((Lines == null ? index : Lines[index]) * LineBytes);
}
