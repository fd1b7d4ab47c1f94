using MoeSharp.Core;

namespace MoeSharp.Reference;

/// <content>The MoE layer, backward.</content>
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    protected override void ExpertDownBackwardCore(
        Tensor dOut, Tensor z, Tensor w2, RoutingPlan plan, Tensor dZ, Tensor weightedA, Tensor dRowWeight)
    {
        int n = (int)weightedA.Shape[1];
        foreach ((int row, int expert, int token) in Rows(plan))
        {
            double w = Floats(plan.RowWeight)[row];
            var a = new double[n];
            SwiGlu(Matrix(z)[row], a);

            // dA' = dOut W2: the gradient of a without the combine weight.
            var dA = new double[n];
            for (int i = 0; i < Matrix(dOut).Columns; i++)
            {
                AddScaled(Matrix(dOut)[token, i], Expert(w2, expert)[i], dA);
            }

            Floats(dRowWeight)[row] = Dot(dA, a);
            SwiGluBackward(Matrix(z)[row], Array.ConvertAll(dA, g => w * g), Matrix(dZ)[row]);
            Array.ConvertAll(a, value => w * value).CopyTo(Matrix(weightedA)[row]);
        }
    }

    /// <inheritdoc/>
    protected override void ExpertDownWeightGradCore(Tensor dOut, Tensor weightedA, RoutingPlan plan, Tensor dW2)
    {
        foreach ((int row, int expert, int token) in Rows(plan))
        {
            AddOuterProduct(Matrix(dOut)[token], Matrix(weightedA)[row], Expert(dW2, expert));
        }
    }

    /// <inheritdoc/>
    protected override void ExpertUpBackwardCore(Tensor dZ, Tensor w1, RoutingPlan plan, Tensor dXRows)
    {
        foreach ((int row, int expert, _) in Rows(plan))
        {
            Matrix(dXRows)[row].Clear();
            for (int i = 0; i < Matrix(dZ).Columns; i++)
            {
                AddScaled(Matrix(dZ)[row, i], Expert(w1, expert)[i], Matrix(dXRows)[row]);
            }
        }
    }

    /// <inheritdoc/>
    protected override void ExpertUpWeightGradCore(Tensor dZ, Tensor x, RoutingPlan plan, Tensor dW1)
    {
        foreach ((int row, int expert, int token) in Rows(plan))
        {
            AddOuterProduct(Matrix(dZ)[row], Matrix(x)[token], Expert(dW1, expert));
        }
    }

    /// <inheritdoc/>
    protected override void CombineBackwardCore(
        Tensor dXRows, Tensor dRowWeight, Tensor dOut, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor dX, Tensor dWeights)
    {
        Floats(dX).Clear();
        Floats(dWeights).Clear();
        for (int slot = 0; slot < ids.ElementCount; slot++)
        {
            int t = slot / plan.TopK, i = slot % plan.TopK, row = Ints(plan.SlotRow)[slot];
            if (row >= 0)
            {
                // The combine weight is already inside the rows: they came from w dA'.
                AddScaled(1, Matrix(dXRows)[row], Matrix(dX)[t]);
                Matrix(dWeights)[t, i] = Floats(dRowWeight)[row];
            }
            else if (IsNull(Ints(ids)[slot], NullKind.Identity, spec))
            {
                AddScaled(Matrix(weights)[t, i], Matrix(dOut)[t], Matrix(dX)[t]);
                Matrix(dWeights)[t, i] = Dot(Matrix(dOut)[t], Matrix(x)[t]);
            }
        }
    }

    /// <inheritdoc/>
    protected override void ConstantExpertsBackwardCore(
        Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, Tensor dOut, RouterSpec spec, Tensor dX, Tensor dMix, Tensor dConstants, Tensor dWeights)
    {
        Floats(dMix).Clear();
        foreach ((int t, int i, int constant) in ConstantPicks(ids, spec))
        {
            // out += w (m0 x + m1 c), (m0, m1) = softmax(l0, l1).
            (double m0, double m1) = Mix(mix, t, constant);
            double w = Matrix(weights)[t, i];
            double withX = Dot(Matrix(dOut)[t], Matrix(x)[t]), withConstant = Dot(Matrix(dOut)[t], Matrix(constants)[constant]);
            Matrix(dWeights)[t, i] += (m0 * withX) + (m1 * withConstant);
            AddScaled(w * m0, Matrix(dOut)[t], Matrix(dX)[t]);
            AddScaled(w * m1, Matrix(dOut)[t], Matrix(dConstants)[constant]);

            // dl0 = m0 (dm0 - m0 dm0 - m1 dm1) = m0 m1 (dm0 - dm1), and dl1 is its negative.
            double dLogit = w * m0 * m1 * (withX - withConstant);
            Matrix(dMix)[t, 2 * constant] += dLogit;
            Matrix(dMix)[t, (2 * constant) + 1] -= dLogit;
        }
    }

    /// <summary>result_ij += a_i b_j.</summary>
    private static void AddOuterProduct(ReadOnlySpan<double> a, ReadOnlySpan<double> b, Matrix result)
    {
        for (int i = 0; i < a.Length; i++)
        {
            AddScaled(a[i], b, result[i]);
        }
    }
}
