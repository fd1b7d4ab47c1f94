using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>Gather and sum of one token: the rows of its slots in slot order, then the identity nulls together.</summary>
/// <remarks>
/// Forward weighs rows, backward adds them as they are. The terms of a token are listed once and then summed for four vectors of columns
/// at a time, so sums stay in registers and each output number is written once.
/// </remarks>
internal unsafe struct CombineWork
{
    /// <summary>Operands of the op; the rows of its outputs are <see cref="Operands.Width"/> wide.</summary>
    public Operands Operands;

    /// <summary>[T, K]: row of a slot, -1 for a null slot.</summary>
    public int* SlotRow;

    /// <summary>Null kinds.</summary>
    public RouterLayout Layout;

    /// <summary>Whether rows, direct rows and output are bfloat16.</summary>
    public bool Half;

    /// <summary>Work memory.</summary>
    public OpScratch Scratch;

    /// <summary>output[t] = sum of weight * rows[row] + (sum of identity weights) * direct[t]; rows unweighted when <paramref name="rowWeights"/> is null.</summary>
    public readonly void Sum(int t, void* rows, void* direct, float* rowWeights, void* output)
    {
        int slots = Layout.Spec.TopK, width = Operands.Width, terms = 0;
        nint rowBytes = (nint)width * (Half ? sizeof(ushort) : sizeof(float));
        nint first = (nint)t * slots;
        nint* source = (nint*)Scratch.Thread(3L * (slots + 1));
        float* factor = (float*)(source + slots + 1);
        float* weights = rowWeights is null ? Operands.F : rowWeights;
        float identity = 0f;
        bool hasIdentity = false;
        for (int k = 0; k < slots; k++)
        {
            int row = SlotRow[first + k];
            if (row >= 0)
            {
                source[terms] = (nint)rows + (row * rowBytes);
                factor[terms++] = rowWeights is null ? 1f : weights[first + k];
            }
            else if (Layout.IsNull(Operands.Ids[first + k], NullKind.Identity))
            {
                identity += weights[first + k];
                hasIdentity = true;
            }
        }

        if (hasIdentity)
        {
            source[terms] = (nint)direct + (t * rowBytes);
            factor[terms++] = identity;
        }

        if (Half)
        {
            SumTerms<BFloat16Element>((nint*)source, factor, terms, (nint)output + (t * rowBytes), width);
        }
        else
        {
            SumTerms<Float32Element>((nint*)source, factor, terms, (nint)output + (t * rowBytes), width);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void SumTerms<TElement>(nint* source, float* factor, int terms, nint output, int width)
        where TElement : struct, IElement
    {
        const int Lanes = VectorMath.Lanes;
        int i = 0;
        for (; i <= width - (4 * Lanes); i += 4 * Lanes)
        {
            Vector256<float> a = default, b = default, c = default, d = default;
            for (int term = 0; term < terms; term++)
            {
                nint row = source[term];
                Vector256<float> weight = Vector256.Create(factor[term]);
                a = Vector256.FusedMultiplyAdd(weight, TElement.Load(row, i), a);
                b = Vector256.FusedMultiplyAdd(weight, TElement.Load(row, i + Lanes), b);
                c = Vector256.FusedMultiplyAdd(weight, TElement.Load(row, i + (2 * Lanes)), c);
                d = Vector256.FusedMultiplyAdd(weight, TElement.Load(row, i + (3 * Lanes)), d);
            }

            TElement.Store(a, output, i);
            TElement.Store(b, output, i + Lanes);
            TElement.Store(c, output, i + (2 * Lanes));
            TElement.Store(d, output, i + (3 * Lanes));
        }

        for (; i < width; i += Lanes)
        {
            int rest = Math.Min(Lanes, width - i);
            Vector256<float> a = default;
            for (int term = 0; term < terms; term++)
            {
                a = Vector256.FusedMultiplyAdd(Vector256.Create(factor[term]), TElement.LoadPart(source[term], i, rest), a);
            }

            TElement.StorePart(a, output, i, rest);
        }
    }
}
