using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>The passes of vector quantisation over a chunk of tokens or a block of columns.</summary>
/// <remarks>
/// A vector's inverse length is 1 for the Euclidean distance, and 1/length, or 0 for a vector of zeros, for the cosine; a unit is the vector
/// times it. A sum of squares has the order of <see cref="Compare"/> whatever codes stand beside it, so a code's distance does not depend
/// on its place, and equal codes tie.
/// </remarks>
internal unsafe struct QuantizerWork(QuantizerSpec spec)
{
    private readonly bool _cosine = spec.Distance == CodeDistance.Cosine;
    private readonly float _mix = (float)spec.Mix, _carry = (float)spec.Carry, _commitment = (float)spec.Commitment;

    /// <summary>Sources and destinations, as the ops name them.</summary>
    public float* X, Codebook, Y, Distances, DY, DX, DCodebook;

    /// <summary>[N]: inverse lengths of the codes; [N, d]: their units.</summary>
    public float* Inverses, Units;

    /// <summary>[T, 2]: what of the code and of the row goes into the code's gradient.</summary>
    public float* Shares;

    /// <summary>[T].</summary>
    public int* Codes;

    /// <summary>Sizes: T, d, N, and tokens per chunk.</summary>
    public int Tokens, Width, Count, Step;

    /// <summary>2 dLoss / (T d).</summary>
    public float Slope;

    /// <summary>Chunks of a size.</summary>
    public static int Chunks(int count, int size) => (int)(((long)count + size - 1) / size);

    /// <summary>Writes the unit of a vector (not for the Euclidean distance, where it is the vector) and returns its inverse length.</summary>
    public readonly float Unit(float* vector, float* unit)
    {
        if (!_cosine)
        {
            return 1f;
        }

        float inverse = Inverse(vector);
        VectorMath.Scaled(inverse, vector, unit, Width);
        return inverse;
    }

    /// <summary>Code, distance and mix of a chunk of tokens.</summary>
    /// <param name="chunk">Which.</param>
    /// <param name="unit">Room for a row.</param>
    public readonly void Nearest(int chunk, float* unit)
    {
        float* four = stackalloc float[4];
        nint end = (nint)Math.Min(Tokens, (chunk + 1L) * Step);
        for (nint t = (nint)chunk * Step; t < end; t++)
        {
            float* row = X + (t * Width), point = _cosine ? unit : row;
            float inverse = Unit(row, unit), best = float.PositiveInfinity;
            int code = 0;
            for (int first = 0; first < Count; first += 4)
            {
                Compare(point, first, four);
                for (int j = first; j < Math.Min(Count, first + 4); j++)
                {
                    if (four[j - first] < best)
                    {
                        (best, code) = (four[j - first], j);
                    }
                }
            }

            if (best == float.PositiveInfinity)
            {
                Compare(point, 0, four);
                best = four[0];
            }

            Codes[t] = code;
            Distances[t] = best;
            float stretch = inverse == 0f ? 0f : Inverses[code] / inverse;
            Mix(row, Codebook + ((nint)code * Width), stretch, Y + (t * Width));
        }
    }

    /// <summary>dX of a chunk of tokens, and the shares of the codes' gradients.</summary>
    public readonly void Tokenwise(int chunk)
    {
        nint end = (nint)Math.Min(Tokens, (chunk + 1L) * Step);
        for (nint t = (nint)chunk * Step; t < end; t++)
        {
            float* row = X + (t * Width), code = Codebook + ((nint)Codes[t] * Width), gradient = DY + (t * Width), result = DX + (t * Width);
            float ofRow = 1f, ofCode = 1f, codeShare = 1f;
            if (_cosine)
            {
                float inverse = Inverse(row), codeInverse = Inverse(code), cos = VectorMath.Dot(row, code, Width) * inverse * codeInverse;
                ofRow = cos * inverse * inverse;
                ofCode = inverse * codeInverse;
                codeShare = cos * codeInverse * codeInverse;
            }

            (Shares[2 * t], Shares[(2 * t) + 1]) = (codeShare, ofCode);
            var (carry, slope) = (Vector256.Create(_carry), Vector256.Create(Slope * _commitment));
            var (withRow, withCode) = (Vector256.Create(ofRow), Vector256.Create(ofCode));
            for (int i = 0; i < Width; i += VectorMath.Lanes)
            {
                int rest = Width - i;
                Vector256<float> apart = (withRow * VectorMath.Load(row + i, rest)) - (withCode * VectorMath.Load(code + i, rest));
                VectorMath.Store(Vector256.FusedMultiplyAdd(slope, apart, carry * VectorMath.Load(gradient + i, rest)), result + i, rest);
            }
        }
    }

    /// <summary>dCodebook of a block of columns, tokens in ascending order.</summary>
    public readonly void Columnwise(int first, int columns)
    {
        for (nint t = 0; t < Tokens; t++)
        {
            nint at = ((nint)Codes[t] * Width) + first;
            float* row = X + (t * Width) + first, code = Codebook + at, sum = DCodebook + at;
            var (slope, withCode, withRow) = (Vector256.Create(Slope), Vector256.Create(Shares[2 * t]), Vector256.Create(Shares[(2 * t) + 1]));
            for (int i = 0; i < columns; i += VectorMath.Lanes)
            {
                int rest = columns - i;
                Vector256<float> apart = (withCode * VectorMath.Load(code + i, rest)) - (withRow * VectorMath.Load(row + i, rest));
                VectorMath.Store(Vector256.FusedMultiplyAdd(slope, apart, VectorMath.Load(sum + i, rest)), sum + i, rest);
            }
        }
    }

    private readonly float Inverse(float* vector)
    {
        float squares = VectorMath.Dot(vector, vector, Width);
        return squares == 0f ? 0f : 1f / MathF.Sqrt(squares);
    }

    /// <summary>y = carry x + mix (stretch v - x).</summary>
    private readonly void Mix(float* row, float* code, float stretch, float* y)
    {
        var (carry, mix, reach) = (Vector256.Create(_carry), Vector256.Create(_mix), Vector256.Create(stretch));
        for (int i = 0; i < Width; i += VectorMath.Lanes)
        {
            int rest = Width - i;
            Vector256<float> x = VectorMath.Load(row + i, rest);
            VectorMath.Store((carry * x) + (mix * ((reach * VectorMath.Load(code + i, rest)) - x)), y + i, rest);
        }
    }

    /// <summary>Squared distances of a point to four codes; behind the last code it is compared again.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Compare(float* point, int first, float* four)
    {
        float* v0 = Code(first), v1 = Code(first + 1), v2 = Code(first + 2), v3 = Code(first + 3);
        Vector256<float> a0 = default, a1 = default, a2 = default, a3 = default, b0 = default, b1 = default, b2 = default, b3 = default;
        int i = 0;
        for (; i <= Width - (2 * VectorMath.Lanes); i += 2 * VectorMath.Lanes)
        {
            Vector256<float> x = Vector256.Load(point + i), next = Vector256.Load(point + i + VectorMath.Lanes);
            Add(ref a0, x, Vector256.Load(v0 + i));
            Add(ref a1, x, Vector256.Load(v1 + i));
            Add(ref a2, x, Vector256.Load(v2 + i));
            Add(ref a3, x, Vector256.Load(v3 + i));
            Add(ref b0, next, Vector256.Load(v0 + i + VectorMath.Lanes));
            Add(ref b1, next, Vector256.Load(v1 + i + VectorMath.Lanes));
            Add(ref b2, next, Vector256.Load(v2 + i + VectorMath.Lanes));
            Add(ref b3, next, Vector256.Load(v3 + i + VectorMath.Lanes));
        }

        for (; i < Width; i += VectorMath.Lanes)
        {
            int rest = Width - i;
            Vector256<float> x = VectorMath.Load(point + i, rest);
            Add(ref a0, x, VectorMath.Load(v0 + i, rest));
            Add(ref a1, x, VectorMath.Load(v1 + i, rest));
            Add(ref a2, x, VectorMath.Load(v2 + i, rest));
            Add(ref a3, x, VectorMath.Load(v3 + i, rest));
        }

        four[0] = VectorMath.SumLanes(a0 + b0);
        four[1] = VectorMath.SumLanes(a1 + b1);
        four[2] = VectorMath.SumLanes(a2 + b2);
        four[3] = VectorMath.SumLanes(a3 + b3);
    }

    private readonly float* Code(int code) => Units + ((nint)Math.Min(code, Count - 1) * Width);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add(ref Vector256<float> sum, Vector256<float> x, Vector256<float> v)
    {
        Vector256<float> difference = x - v;
        sum = Vector256.FusedMultiplyAdd(difference, difference, sum);
    }
}
