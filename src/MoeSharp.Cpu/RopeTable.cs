using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>Cosines and sines of rotary embedding, computed in double and kept per position.</summary>
/// <remarks>
/// A row holds HeadDim factors for the element itself and HeadDim for its partner, signs included, in the order in which the vector loop
/// reads them; so both pairings are the same multiply-add. Positions outside the table (negative, or beyond
/// <see cref="Limit"/>) are computed when met, by the same function, hence with the same bits.
/// </remarks>
internal sealed class RopeTable(RopeSpec spec)
{
    /// <summary>Most positions that are kept: at a head width of 128 they take 64 MiB.</summary>
    public const int Limit = 1 << 16;

    private float[] _rows = [];

    /// <summary>Positions kept so far.</summary>
    public int Positions { get; private set; }

    /// <summary>Floats per row.</summary>
    public int RowLength => 2 * spec.HeadDim;

    /// <summary>The rows, pinned; valid until <see cref="Reserve"/> grows them.</summary>
    public unsafe float* Pointer => Positions == 0 ? null : (float*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref _rows[0]);

    /// <summary>Makes rows for positions 0..highest, as far as they are kept at all.</summary>
    public unsafe void Reserve(int highest)
    {
        if (highest < Positions || Positions == Limit)
        {
            return;
        }

        int positions = (int)Math.Min(Limit, System.Numerics.BitOperations.RoundUpToPowerOf2((uint)highest + 1));
        float[] rows = GC.AllocateUninitializedArray<float>(checked(positions * RowLength), pinned: true);
        _rows.CopyTo(rows, 0);
        int first = Positions;
        _rows = rows;
        Positions = positions;
        for (int position = first; position < positions; position++)
        {
            Write(position, Pointer + ((nint)position * RowLength));
        }
    }

    /// <summary>Writes the row of any position.</summary>
    public unsafe void Write(int position, float* row)
    {
        int half = spec.HeadDim / 2;
        for (int i = 0; i < half; i++)
        {
            double angle = position * Math.Pow(spec.Theta, -2.0 * i / spec.HeadDim);
            (double sine, double cosine) = Math.SinCos(angle);
            int first = spec.Interleaved ? 2 * i : i;
            int second = spec.Interleaved ? first + 1 : i + half;
            row[first] = row[second] = (float)cosine;
            row[spec.HeadDim + first] = -(float)sine;
            row[spec.HeadDim + second] = (float)sine;
        }
    }
}
