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
    public void* Z;

    /// <summary>[R, n]: a forward; backward dA' on entry and weightedA on return.</summary>
    public void* A;

    /// <summary>[R, 2n].</summary>
    public void* DZ;

    /// <summary>[R].</summary>
    public float* RowWeight;

    /// <summary>[R].</summary>
    public float* DRowWeight;

    /// <summary>Finishes columns [first, end) of row <paramref name="row"/>.</summary>
    public readonly void Apply(nint row, int first, int end)
    {
        float* z = (float*)Z + (row * 2 * Width);
        float* a = (float*)A + (row * Width);
        if (Kind == GemmEpilogueKind.SwiGlu)
        {
            Forward(z + first, z + Width + first, a + first, end - first);
        }
        else
        {
            float* dz = (float*)DZ + (row * 2 * Width);
            float sum = Backward(
                z + first, z + Width + first, RowWeight[row], a + first, dz + first, dz + Width + first, end - first);
            DRowWeight[row] = first == 0 ? sum : DRowWeight[row] + sum;
        }
    }

    /// <summary>The same where Z, A and DZ are bfloat16: from sums in float32, rounded once; what was stored is read as stored.</summary>
    /// <param name="row">Row of the buffers.</param>
    /// <param name="first">First column.</param>
    /// <param name="end">Column behind the last.</param>
    /// <param name="sums">Forward the gate's sums from column <paramref name="first"/> on, backward those of dA'; overwritten.</param>
    /// <param name="up">Forward the sums of up.</param>
    /// <param name="rows">Work memory, four times the columns.</param>
    public readonly void ApplyRounded(nint row, int first, int end, float* sums, float* up, float* rows)
    {
        int count = end - first;
        ushort* z = (ushort*)Z + (row * 2 * Width) + first, a = (ushort*)A + (row * Width) + first;
        if (Kind == GemmEpilogueKind.SwiGlu)
        {
            Forward(sums, up, rows, count);
            BFloat16Rows.Narrow(sums, z, count);
            BFloat16Rows.Narrow(up, z + Width, count);
            BFloat16Rows.Narrow(rows, a, count);
            return;
        }

        float* gate = rows, upRow = rows + count, dGate = upRow + count, dUp = dGate + count;
        ushort* dz = (ushort*)DZ + (row * 2 * Width) + first;
        BFloat16Rows.Widen(z, gate, count);
        BFloat16Rows.Widen(z + Width, upRow, count);
        float sum = Backward(gate, upRow, RowWeight[row], sums, dGate, dUp, count);
        DRowWeight[row] = first == 0 ? sum : DRowWeight[row] + sum;
        BFloat16Rows.Narrow(dGate, dz, count);
        BFloat16Rows.Narrow(dUp, dz + Width, count);
        BFloat16Rows.Narrow(sums, a, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Forward(float* gate, float* up, float* a, int count)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            Vector512<float> g = Vector512.Load(gate + i);
            (g * VectorMath.Sigmoid(g) * Vector512.Load(up + i)).Store(a + i);
        }

        for (; i < count; i += 8)
        {
            int rest = Math.Min(8, count - i);
            Vector256<float> g = VectorMath.LoadPart(gate + i, rest);
            VectorMath.StorePart(g * VectorMath.Sigmoid(g) * VectorMath.LoadPart(up + i, rest), a + i, rest);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Backward(float* gate, float* up, float weight, float* a, float* dGate, float* dUp, int count)
    {
        Vector256<float> sum = Vector256<float>.Zero;
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            Vector512<float> d = Vector512.Load(a + i);
            Vector512<float> g = Vector512.Load(gate + i);
            Vector512<float> u = Vector512.Load(up + i);
            Vector512<float> value = Gradient(
                g, u, d * Vector512.Create(weight), out Vector512<float> forGate, out Vector512<float> forUp);
            forGate.Store(dGate + i);
            forUp.Store(dUp + i);
            (value * Vector512.Create(weight)).Store(a + i);

            // Eight lanes whatever the vector width, so that the sum has the same order everywhere.
            sum = Vector256.FusedMultiplyAdd(d.GetLower(), value.GetLower(), sum);
            sum = Vector256.FusedMultiplyAdd(d.GetUpper(), value.GetUpper(), sum);
        }

        for (; i < count; i += 8)
        {
            // A short rest is padded with zeros, which add nothing to the sum.
            int rest = Math.Min(8, count - i);
            Vector512<float> d = Vector512.Create(VectorMath.LoadPart(a + i, rest), Vector256<float>.Zero);
            Vector512<float> g = Vector512.Create(VectorMath.LoadPart(gate + i, rest), Vector256<float>.Zero);
            Vector512<float> u = Vector512.Create(VectorMath.LoadPart(up + i, rest), Vector256<float>.Zero);
            Vector512<float> value = Gradient(
                g, u, d * Vector512.Create(weight), out Vector512<float> forGate, out Vector512<float> forUp);
            VectorMath.StorePart(forGate.GetLower(), dGate + i, rest);
            VectorMath.StorePart(forUp.GetLower(), dUp + i, rest);
            VectorMath.StorePart((value * Vector512.Create(weight)).GetLower(), a + i, rest);
            sum = Vector256.FusedMultiplyAdd(d.GetLower(), value.GetLower(), sum);
        }

        return VectorMath.SumLanes(sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Gradient(
        Vector512<float> gate, Vector512<float> up, Vector512<float> weighted, out Vector512<float> dGate, out Vector512<float> dUp)
    {
        Vector512<float> s = VectorMath.Sigmoid(gate);
        Vector512<float> silu = gate * s;
        dGate = weighted * up * (s + (silu * (Vector512<float>.One - s)));
        dUp = weighted * silu;
        return silu * up;
    }
}
