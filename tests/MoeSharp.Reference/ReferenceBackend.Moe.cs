using MoeSharp.Core;

namespace MoeSharp.Reference;

/// <content>Dispatch, experts and combine.</content>
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    protected override void DispatchCore(Tensor ids, Tensor weights, Tensor? chunkCounts, RoutingPlan plan)
    {
        Span<int> id = Ints(ids), offsets = Ints(plan.Offsets), slotRow = Ints(plan.SlotRow);
        slotRow.Fill(-1);
        int row = 0;
        for (int expert = 0; expert < plan.Experts; expert++)
        {
            offsets[expert] = row;
            for (int slot = 0; slot < id.Length; slot++)
            {
                if (id[slot] == expert)
                {
                    Ints(plan.RowToken)[row] = slot / plan.TopK;
                    Floats(plan.RowWeight)[row] = Floats(weights)[slot];
                    slotRow[slot] = row++;
                }
            }
        }

        offsets[plan.Experts] = row;
    }

    /// <inheritdoc/>
    protected override void ExpertUpCore(Tensor x, Tensor w1, RoutingPlan plan, Tensor z, Tensor a)
    {
        foreach ((int row, int expert, int token) in Rows(plan))
        {
            Matrix weight = Expert(w1, expert);
            for (int i = 0; i < weight.Rows; i++)
            {
                Matrix(z)[row, i] = Dot(weight[i], Matrix(x)[token]);
            }

            SwiGlu(Matrix(z)[row], Matrix(a)[row]);
        }
    }

    /// <inheritdoc/>
    protected override void ExpertDownCore(Tensor a, Tensor w2, RoutingPlan plan, Tensor y)
    {
        foreach ((int row, int expert, _) in Rows(plan))
        {
            Matrix weight = Expert(w2, expert);
            for (int i = 0; i < weight.Rows; i++)
            {
                Matrix(y)[row, i] = Dot(weight[i], Matrix(a)[row]);
            }
        }
    }

    /// <inheritdoc/>
    protected override void CombineCore(Tensor y, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor output)
    {
        Floats(output).Clear();
        for (int t = 0; t < plan.Tokens; t++)
        {
            double identity = 0;
            for (int i = 0; i < plan.TopK; i++)
            {
                int row = Ints(plan.SlotRow)[(t * plan.TopK) + i];
                if (row >= 0)
                {
                    AddScaled(Matrix(weights)[t, i], Matrix(y)[row], Matrix(output)[t]);
                }
                else if (IsNull(Ints(ids)[(t * plan.TopK) + i], NullKind.Identity, spec))
                {
                    identity += Matrix(weights)[t, i];
                }
            }

            if (identity != 0)
            {
                AddScaled(identity, Matrix(x)[t], Matrix(output)[t]);
            }
        }
    }

    /// <inheritdoc/>
    protected override void ConstantExpertsCore(
        Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, RouterSpec spec, Tensor output)
    {
        foreach ((int token, int i, int constant) in ConstantPicks(ids, spec))
        {
            (double m0, double m1) = Mix(mix, token, constant);
            double w = Matrix(weights)[token, i];
            AddScaled(w * m0, Matrix(x)[token], Matrix(output)[token]);
            AddScaled(w * m1, Matrix(constants)[constant], Matrix(output)[token]);
        }
    }

    /// <summary>The R real rows: row, expert and token.</summary>
    private static IEnumerable<(int Row, int Expert, int Token)> Rows(RoutingPlan plan)
    {
        for (int expert = 0; expert < plan.Experts; expert++)
        {
            for (int row = Ints(plan.Offsets)[expert]; row < Ints(plan.Offsets)[expert + 1]; row++)
            {
                yield return (row, expert, Ints(plan.RowToken)[row]);
            }
        }
    }

    /// <summary>The weight matrix of one expert out of a [E, rows, columns] tensor.</summary>
    private static Matrix Expert(Tensor weights, int expert) => Matrix(weights).Slab(expert, (int)weights.Shape[1]);

    private static bool IsNull(int id, NullKind kind, RouterSpec spec) =>
        id < 0 && -1L - id < spec.NullSlots && spec.KindOf(-1 - id) == kind;

    /// <summary>Chosen constant nulls: token, place among the K slots, number of the constant (counted in slot order).</summary>
    private static IEnumerable<(int Token, int Place, int Constant)> ConstantPicks(Tensor ids, RouterSpec spec)
    {
        for (int slot = 0; slot < ids.ElementCount; slot++)
        {
            int id = Ints(ids)[slot];
            if (IsNull(id, NullKind.Constant, spec))
            {
                int before = Enumerable.Range(0, -1 - id).Count(j => spec.KindOf(j) == NullKind.Constant);
                yield return (slot / spec.TopK, slot % spec.TopK, before);
            }
        }
    }

    /// <summary>(m0, m1) = softmax of the two mix logits of a constant.</summary>
    private static (double Token, double Constant) Mix(Tensor mix, int token, int constant)
    {
        double share = Sigmoid(Matrix(mix)[token, 2 * constant] - Matrix(mix)[token, (2 * constant) + 1]);
        return (share, 1 - share);
    }
}
