using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Cpu;

/// <summary>What a product does to a stretch of its result while it is still in cache.</summary>
internal enum GemmEpilogueKind
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>a = silu(gate) * up.</summary>
    SwiGlu,

    /// <summary>From dA' to dZ, weightedA and dRowWeight.</summary>
    SwiGluBackward,
}

/// <summary>SwiGLU and its gradient on a stretch of columns of one row; <see cref="Apply"/> is called by the thread that made it.</summary>
/// <remarks>
/// Formulas: s = sigmoid(g), silu = g s, silu' = s (1 + g (1 - s)) (Shazeer, arXiv 2002.05202). With the row weight w and
/// dA' = dOut W2: dRowWeight = sum of dA' a, dGate = w dA' u silu'(g), dUp = w dA' silu(g), weightedA = w a. The sum over columns
/// runs in eight lanes inside a stretch, then over stretches in ascending order; stretches have the same borders for any number of
/// threads.
/// </remarks>
internal unsafe struct ExpertEpilogue
{
    /// <summary>What to do.</summary>
    public GemmEpilogueKind Kind;

    /// <summary>Width n of an expert.</summary>
    public int Width;

    /// <summary>[R, 2n]: read backward, written by the product forward.</summary>
    public float* Z;

    /// <summary>[R, n]: a forward; backward dA' on entry and weightedA on return.</summary>
    public float* A;

    /// <summary>[R, 2n].</summary>
    public float* DZ;

    /// <summary>[R].</summary>
    public float* RowWeight;

    /// <summary>[R].</summary>
    public float* DRowWeight;

    /// <summary>Finishes columns [first, end) of row <paramref name="row"/>.</summary>
    public readonly void Apply(nint row, int first, int end)
    {
        float* z = Z + (row * 2 * Width);
        float* a = A + (row * Width);
        if (Kind == GemmEpilogueKind.SwiGlu)
        {
            Forward(z + first, z + Width + first, a + first, end - first);
        }
        else
        {
            float* dz = DZ + (row * 2 * Width);
            float sum = Backward(
                z + first, z + Width + first, RowWeight[row], a + first, dz + first, dz + Width + first, end - first);
            DRowWeight[row] = first == 0 ? sum : DRowWeight[row] + sum;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Forward(float* gate, float* up, float* a, int count)
    {
        int i = 0;
        for (; i + 8 <= count; i += 8)
        {
            Silu(Vector256.Load(gate + i), Vector256.Load(up + i)).Store(a + i);
        }

        if (i < count)
        {
            int rest = count - i;
            VectorMath.StorePart(Silu(VectorMath.LoadPart(gate + i, rest), VectorMath.LoadPart(up + i, rest)), a + i, rest);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> Silu(Vector256<float> gate, Vector256<float> up) => gate * VectorMath.Sigmoid(gate) * up;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Backward(float* gate, float* up, float weight, float* a, float* dGate, float* dUp, int count)
    {
        Vector256<float> w = Vector256.Create(weight);
        Vector256<float> sum = Vector256<float>.Zero;
        for (int i = 0; i < count; i += 8)
        {
            int rest = Math.Min(8, count - i);
            bool whole = rest == 8;
            Vector256<float> g = whole ? Vector256.Load(gate + i) : VectorMath.LoadPart(gate + i, rest);
            Vector256<float> u = whole ? Vector256.Load(up + i) : VectorMath.LoadPart(up + i, rest);
            Vector256<float> d = whole ? Vector256.Load(a + i) : VectorMath.LoadPart(a + i, rest);
            Vector256<float> s = VectorMath.Sigmoid(g);
            Vector256<float> silu = g * s;
            Vector256<float> value = silu * u;
            Vector256<float> slope = s + (silu * (Vector256<float>.One - s));
            sum = Vector256.MultiplyAddEstimate(d, value, sum);
            Vector256<float> wd = w * d;
            Vector256<float> forGate = wd * u * slope;
            Vector256<float> forUp = wd * silu;
            Vector256<float> forA = w * value;
            if (whole)
            {
                forGate.Store(dGate + i);
                forUp.Store(dUp + i);
                forA.Store(a + i);
            }
            else
            {
                VectorMath.StorePart(forGate, dGate + i, rest);
                VectorMath.StorePart(forUp, dUp + i, rest);
                VectorMath.StorePart(forA, a + i, rest);
            }
        }

        return VectorMath.SumLanes(sum);
    }
}
