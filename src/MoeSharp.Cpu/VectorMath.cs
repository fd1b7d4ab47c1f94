using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Cpu;

/// <summary>Vectorised exponential, sigmoid and reductions, with bits that do not depend on the machine's vector width.</summary>
/// <remarks>
/// <para>The problem: the framework has no vector exponential with a stated error, and a sum depends on how many lanes take part. The
/// choice: 8-lane vectors everywhere (two registers on NEON, one on AVX2 and AVX-512), lanes added in one fixed tree, and scalar tails
/// that go through the same vector code on a padded copy, so that the value of an element never depends on where it stands.</para>
/// <para><see cref="Exp(Vector256{float})"/> reduces x = n ln 2 + r with |r| &lt;= ln 2 / 2 in two steps (Cody and Waite), evaluates the
/// degree-7 minimax polynomial of the Cephes library and scales by 2^n in two exact factors, so results down to the smallest subnormal
/// are rounded once. Error over all floats: below 1 ulp for normal results. NaN stays NaN, -inf gives 0, +inf and everything
/// beyond 88.73 give +inf. Sigmoid is 1 / (1 + exp(-x)), within 2.5 ulp above -87 and 0 below -88.73.</para>
/// </remarks>
internal static unsafe class VectorMath
{
    /// <summary>Lanes of the vectors that every loop here uses.</summary>
    public const int Lanes = 8;

    private const float LargestInput = 89f;
    private const float SmallestInput = -104f;
    private const float Log2E = 1.44269504088896341f;
    private const float Ln2High = 0.693359375f;
    private const float Ln2Low = -2.12194440e-4f;

    // 1.5 * 2^23: adding it rounds a small float to an integer that stands in the low mantissa bits.
    private const float RoundingMagic = 12582912f;
    private const float C5 = 1.9875691500e-4f;
    private const float C4 = 1.3981999507e-3f;
    private const float C3 = 8.3334519073e-3f;
    private const float C2 = 4.1665795894e-2f;
    private const float C1 = 1.6666665459e-1f;
    private const float C0 = 5.0000001201e-1f;

    /// <summary>e^x per lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Exp(Vector256<float> x)
    {
        // The limit is the first operand: x86 returns the second one when either is NaN, which keeps a NaN in x.
        x = Vector256.MaxNative(Vector256.Create(SmallestInput), Vector256.MinNative(Vector256.Create(LargestInput), x));
        Vector256<float> magic = Vector256.Create(RoundingMagic);
        Vector256<float> shifted = Vector256.FusedMultiplyAdd(x, Vector256.Create(Log2E), magic);
        Vector256<float> n = shifted - magic;
        Vector256<float> r = Vector256.FusedMultiplyAdd(n, Vector256.Create(-Ln2High), x);
        r = Vector256.FusedMultiplyAdd(n, Vector256.Create(-Ln2Low), r);
        Vector256<float> p = Vector256.FusedMultiplyAdd(Vector256.Create(C5), r, Vector256.Create(C4));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(C3));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(C2));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(C1));
        p = Vector256.FusedMultiplyAdd(p, r, Vector256.Create(C0));
        p = Vector256.FusedMultiplyAdd(p, r * r, r) + Vector256<float>.One;
        Vector256<int> exponent = shifted.AsInt32() - magic.AsInt32();
        Vector256<int> half = Vector256.ShiftRightArithmetic(exponent, 1);
        Vector256<int> bias = Vector256.Create(127);
        Vector256<float> first = Vector256.ShiftLeft(half + bias, 23).AsSingle();
        Vector256<float> second = Vector256.ShiftLeft(exponent - half + bias, 23).AsSingle();
        return p * first * second;
    }

    /// <summary>e^x per lane; every lane has the bits of the 8-lane version.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Exp(Vector512<float> x)
    {
        x = Vector512.MaxNative(Vector512.Create(SmallestInput), Vector512.MinNative(Vector512.Create(LargestInput), x));
        Vector512<float> magic = Vector512.Create(RoundingMagic);
        Vector512<float> shifted = Vector512.FusedMultiplyAdd(x, Vector512.Create(Log2E), magic);
        Vector512<float> n = shifted - magic;
        Vector512<float> r = Vector512.FusedMultiplyAdd(n, Vector512.Create(-Ln2High), x);
        r = Vector512.FusedMultiplyAdd(n, Vector512.Create(-Ln2Low), r);
        Vector512<float> p = Vector512.FusedMultiplyAdd(Vector512.Create(C5), r, Vector512.Create(C4));
        p = Vector512.FusedMultiplyAdd(p, r, Vector512.Create(C3));
        p = Vector512.FusedMultiplyAdd(p, r, Vector512.Create(C2));
        p = Vector512.FusedMultiplyAdd(p, r, Vector512.Create(C1));
        p = Vector512.FusedMultiplyAdd(p, r, Vector512.Create(C0));
        p = Vector512.FusedMultiplyAdd(p, r * r, r) + Vector512<float>.One;
        Vector512<int> exponent = shifted.AsInt32() - magic.AsInt32();
        Vector512<int> half = Vector512.ShiftRightArithmetic(exponent, 1);
        Vector512<int> bias = Vector512.Create(127);
        Vector512<float> first = Vector512.ShiftLeft(half + bias, 23).AsSingle();
        Vector512<float> second = Vector512.ShiftLeft(exponent - half + bias, 23).AsSingle();
        return p * first * second;
    }

    /// <summary>e^x of one number, with the bits of a lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Exp(float x) => Exp(Vector256.Create(x)).ToScalar();

    /// <summary>1 / (1 + e^-x) per lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Sigmoid(Vector256<float> x) => Vector256<float>.One / (Vector256<float>.One + Exp(-x));

    /// <summary>1 / (1 + e^-x) per lane; every lane has the bits of the 8-lane version.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Sigmoid(Vector512<float> x) => Vector512<float>.One / (Vector512<float>.One + Exp(-x));

    /// <summary>1 / (1 + e^-x) of one number, with the bits of a lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sigmoid(float x) => Sigmoid(Vector256.Create(x)).ToScalar();

    /// <summary>Reads fewer than eight numbers; the other lanes get a filler.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> LoadPart(float* source, int count, float filler = 0f)
    {
        Vector256<float> vector = Vector256.Create(filler);
        Unsafe.CopyBlockUnaligned(&vector, source, (uint)(count * sizeof(float)));
        return vector;
    }

    /// <summary>Writes the first few lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StorePart(Vector256<float> vector, float* destination, int count) =>
        Unsafe.CopyBlockUnaligned(destination, &vector, (uint)(count * sizeof(float)));

    /// <summary>A vector of a row with this many numbers left; behind the last one stands a filler.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<float> Load(float* source, int rest, float filler = 0f) =>
        rest >= Lanes ? Vector256.Load(source) : LoadPart(source, rest, filler);

    /// <summary>Writes a vector as far as the row goes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<float> vector, float* destination, int rest)
    {
        if (rest >= Lanes)
        {
            vector.Store(destination);
        }
        else
        {
            StorePart(vector, destination, rest);
        }
    }

    /// <summary>Sum of the lanes as one fixed tree: distance 4, 2, 1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float SumLanes(Vector256<float> v)
    {
        Vector128<float> four = v.GetLower() + v.GetUpper();
        Vector128<float> two = four + Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1));
        return two.ToScalar() + two.GetElement(1);
    }

    /// <summary>Sum of n numbers: 32 running sums, then a fixed tree. Depends on n and the values alone.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Sum(float* x, int n)
    {
        Vector256<float> a = default, b = default, c = default, d = default;
        int i = 0;
        for (; i <= n - (4 * Lanes); i += 4 * Lanes)
        {
            a += Vector256.Load(x + i);
            b += Vector256.Load(x + i + Lanes);
            c += Vector256.Load(x + i + (2 * Lanes));
            d += Vector256.Load(x + i + (3 * Lanes));
        }

        for (; i <= n - Lanes; i += Lanes)
        {
            a += Vector256.Load(x + i);
        }

        if (i < n)
        {
            b += LoadPart(x + i, n - i);
        }

        return SumLanes((a + b) + (c + d));
    }

    /// <summary>Sum of x*y: 32 running sums, then a fixed tree. Depends on n and the values alone.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Dot(float* x, float* y, int n)
    {
        Vector256<float> a = default, b = default, c = default, d = default;
        int i = 0;
        for (; i <= n - (4 * Lanes); i += 4 * Lanes)
        {
            a = Vector256.FusedMultiplyAdd(Vector256.Load(x + i), Vector256.Load(y + i), a);
            b = Vector256.FusedMultiplyAdd(Vector256.Load(x + i + Lanes), Vector256.Load(y + i + Lanes), b);
            c = Vector256.FusedMultiplyAdd(Vector256.Load(x + i + (2 * Lanes)), Vector256.Load(y + i + (2 * Lanes)), c);
            d = Vector256.FusedMultiplyAdd(Vector256.Load(x + i + (3 * Lanes)), Vector256.Load(y + i + (3 * Lanes)), d);
        }

        for (; i <= n - Lanes; i += Lanes)
        {
            a = Vector256.FusedMultiplyAdd(Vector256.Load(x + i), Vector256.Load(y + i), a);
        }

        if (i < n)
        {
            b = Vector256.FusedMultiplyAdd(LoadPart(x + i, n - i), LoadPart(y + i, n - i), b);
        }

        return SumLanes((a + b) + (c + d));
    }

    /// <summary>Largest of n numbers, -inf for none. Whether a NaN is found is not defined: callers sum exponentials of the same numbers after it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float Max(float* x, int n)
    {
        Vector256<float> a = Vector256.Create(float.NegativeInfinity), b = a;
        int i = 0;
        for (; i <= n - (2 * Lanes); i += 2 * Lanes)
        {
            a = Vector256.MaxNative(a, Vector256.Load(x + i));
            b = Vector256.MaxNative(b, Vector256.Load(x + i + Lanes));
        }

        for (; i < n; i += Lanes)
        {
            int rest = n - i;
            a = Vector256.MaxNative(a, Load(x + i, rest, float.NegativeInfinity));
        }

        a = Vector256.MaxNative(a, b);
        Vector128<float> four = Vector128.MaxNative(a.GetLower(), a.GetUpper());
        Vector128<float> two = Vector128.MaxNative(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        return MathF.Max(two.ToScalar(), two.GetElement(1));
    }

    /// <summary>Sum of e^(x - shift) over n numbers, in the order of <see cref="Sum"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static float SumExp(float* x, int n, float shift)
    {
        Vector256<float> s = Vector256.Create(shift);
        Vector256<float> a = default, b = default;
        int i = 0;
        for (; i <= n - (2 * Lanes); i += 2 * Lanes)
        {
            a += Exp(Vector256.Load(x + i) - s);
            b += Exp(Vector256.Load(x + i + Lanes) - s);
        }

        for (; i < n; i += Lanes)
        {
            int rest = n - i;
            a += Exp(Load(x + i, rest, float.NegativeInfinity) - s);
        }

        return SumLanes(a + b);
    }

    /// <summary>y[i] = a * x[i] + y[i], fused.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AddScaled(float a, float* x, float* y, int n)
    {
        Vector256<float> factor = Vector256.Create(a);
        int i = 0;
        for (; i <= n - Lanes; i += Lanes)
        {
            Vector256.FusedMultiplyAdd(factor, Vector256.Load(x + i), Vector256.Load(y + i)).Store(y + i);
        }

        if (i < n)
        {
            int rest = n - i;
            StorePart(Vector256.FusedMultiplyAdd(factor, LoadPart(x + i, rest), LoadPart(y + i, rest)), y + i, rest);
        }
    }

    /// <summary>y[i] = a * x[i]; y may be x.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scaled(float a, float* x, float* y, int n)
    {
        Vector256<float> factor = Vector256.Create(a);
        int i = 0;
        for (; i <= n - Lanes; i += Lanes)
        {
            (factor * Vector256.Load(x + i)).Store(y + i);
        }

        for (; i < n; i++)
        {
            y[i] = a * x[i];
        }
    }

    /// <summary>y[i] += x[i].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AddTo(float* x, float* y, int n)
    {
        int i = 0;
        for (; i <= n - Lanes; i += Lanes)
        {
            (Vector256.Load(y + i) + Vector256.Load(x + i)).Store(y + i);
        }

        for (; i < n; i++)
        {
            y[i] += x[i];
        }
    }
}
