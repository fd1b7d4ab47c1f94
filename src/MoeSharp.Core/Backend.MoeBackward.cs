namespace MoeSharp.Core;

/// <content>The MoE layer, backward. Saved from forward: x, z and the routing; never gathered rows, y or dY.</content>
public abstract partial class Backend
{
    /// <summary>Gradient of <see cref="Gate"/>: of the weights, the balance loss and the z-loss, to the logits.</summary>
    /// <remarks>The choice is constant; loads are constant in the balance loss. Empty slots get none. The selection bias has no gradient.</remarks>
    /// <param name="logits">[T, C].</param>
    /// <param name="ids">Int32 [T, K] from forward.</param>
    /// <param name="dWeights">Wide [T, K].</param>
    /// <param name="loads">Int32 [C] from forward: <see cref="GateResult.Loads"/>, or the step loads of <see cref="BalanceLoss"/>.</param>
    /// <param name="dBalanceLoss">Wide [1].</param>
    /// <param name="dZLoss">Wide [1].</param>
    /// <param name="spec">The routing rules.</param>
    /// <param name="dLogits">[T, C].</param>
    public void GateBackward(
        Tensor logits, Tensor ids, Tensor dWeights, Tensor loads, Tensor dBalanceLoss, Tensor dZLoss, RouterSpec spec, Tensor dLogits)
    {
        spec.Validate();
        int t = Size(logits, 0, 2);
        Rows(logits, t, spec.Columns);
        CheckGate(ids, dWeights, t, spec);
        Guard.Is(loads, DType.Int32, [spec.Columns]);
        Wide(dBalanceLoss, 1);
        Wide(dZLoss, 1);
        Rows(dLogits, t, spec.Columns);
        Distinct(dLogits, logits);
        GateBackwardCore(logits, ids, dWeights, loads, dBalanceLoss, dZLoss, spec, dLogits);
    }

    /// <summary>Back through <see cref="ExpertDown"/> and SwiGLU, per real row r with token t and weight w.</summary>
    /// <remarks>dA' = dOut[t] W2[e]; dRowWeight = &lt;dA', a&gt;; dZ = swiglu'(z, w dA'); weightedA = w a. y is not needed: &lt;dOut, y&gt; = &lt;dOut W2, a&gt;.</remarks>
    /// <param name="dOut">[T, d], gradient of the layer output, gathered while loading.</param>
    /// <param name="z">[T*K, 2n] from forward.</param>
    /// <param name="w2">[E, d, n].</param>
    /// <param name="plan">The routing.</param>
    /// <param name="dZ">[T*K, 2n], first R rows written.</param>
    /// <param name="weightedA">[T*K, n], first R rows written.</param>
    /// <param name="dRowWeight">Wide [T*K], first R written.</param>
    public void ExpertDownBackward(Tensor dOut, Tensor z, Tensor w2, RoutingPlan plan, Tensor dZ, Tensor weightedA, Tensor dRowWeight)
    {
        int d = Size(dOut, 1, 2), n = Size(weightedA, 1, 2);
        CheckPlan(plan);
        Rows(dOut, plan.Tokens, d);
        Rows(z, plan.Capacity, 2L * n);
        Is(w2, plan.Experts, d, n);
        Rows(dZ, plan.Capacity, 2L * n);
        Rows(weightedA, plan.Capacity, n);
        Wide(dRowWeight, plan.Capacity);
        ExpertDownBackwardCore(dOut, z, w2, plan, dZ, weightedA, dRowWeight);
    }

    /// <summary>dW2[e] += sum over rows of dOut[token]^T weightedA. Rows in ascending order; empty experts unchanged.</summary>
    /// <param name="dOut">[T, d].</param>
    /// <param name="weightedA">[T*K, n].</param>
    /// <param name="plan">The routing.</param>
    /// <param name="dW2">Wide [E, d, n], accumulated.</param>
    public void ExpertDownWeightGrad(Tensor dOut, Tensor weightedA, RoutingPlan plan, Tensor dW2)
    {
        int d = Size(dOut, 1, 2), n = Size(weightedA, 1, 2);
        CheckPlan(plan);
        Rows(dOut, plan.Tokens, d);
        Rows(weightedA, plan.Capacity, n);
        Wide(dW2, plan.Experts, d, n);
        ExpertDownWeightGradCore(dOut, weightedA, plan, dW2);
    }

    /// <summary>dXRows = dZ W1[expert] for the R real rows.</summary>
    /// <param name="dZ">[T*K, 2n].</param>
    /// <param name="w1">[E, 2n, d].</param>
    /// <param name="plan">The routing.</param>
    /// <param name="dXRows">[T*K, d], first R rows written.</param>
    public void ExpertUpBackward(Tensor dZ, Tensor w1, RoutingPlan plan, Tensor dXRows)
    {
        int d = Size(dXRows, 1, 2), n2 = Size(dZ, 1, 2);
        CheckPlan(plan);
        Rows(dZ, plan.Capacity, n2);
        Is(w1, plan.Experts, n2, d);
        Rows(dXRows, plan.Capacity, d);
        ExpertUpBackwardCore(dZ, w1, plan, dXRows);
    }

    /// <summary>dW1[e] += sum over rows of dZ^T x[token]. Rows in ascending order; empty experts unchanged.</summary>
    /// <param name="dZ">[T*K, 2n].</param>
    /// <param name="x">[T, d].</param>
    /// <param name="plan">The routing.</param>
    /// <param name="dW1">Wide [E, 2n, d], accumulated.</param>
    public void ExpertUpWeightGrad(Tensor dZ, Tensor x, RoutingPlan plan, Tensor dW1)
    {
        int d = Size(x, 1, 2), n2 = Size(dZ, 1, 2);
        CheckPlan(plan);
        Rows(dZ, plan.Capacity, n2);
        Rows(x, plan.Tokens, d);
        Wide(dW1, plan.Experts, n2, d);
        ExpertUpWeightGradCore(dZ, x, plan, dW1);
    }

    /// <summary>
    /// dX[t] = sum over slots in order of dXRows[row], plus (sum of identity-null weights) * dOut[t];
    /// dWeights: dRowWeight for real slots, &lt;dOut[t], x[t]&gt; for identity nulls, 0 for the others.
    /// </summary>
    /// <param name="dXRows">[T*K, d].</param>
    /// <param name="dRowWeight">Wide [T*K].</param>
    /// <param name="dOut">[T, d].</param>
    /// <param name="x">[T, d].</param>
    /// <param name="ids">Int32 [T, K].</param>
    /// <param name="weights">Wide [T, K].</param>
    /// <param name="plan">The routing.</param>
    /// <param name="spec">Null kinds.</param>
    /// <param name="dX">[T, d].</param>
    /// <param name="dWeights">Wide [T, K].</param>
    public void CombineBackward(
        Tensor dXRows, Tensor dRowWeight, Tensor dOut, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor dX, Tensor dWeights)
    {
        int d = Size(dXRows, 1, 2);
        CheckPlan(plan);
        CheckGate(ids, weights, plan.Tokens, spec);
        Rows(dXRows, plan.Capacity, d);
        Wide(dRowWeight, plan.Capacity);
        Rows(dOut, plan.Tokens, d);
        Rows(x, plan.Tokens, d);
        Rows(dX, plan.Tokens, d);
        Wide(dWeights, plan.Tokens, plan.TopK);
        Distinct(dX, dXRows, dOut, x);
        CombineBackwardCore(dXRows, dRowWeight, dOut, x, ids, weights, plan, spec, dX, dWeights);
    }

    /// <summary>Gradient of <see cref="ConstantExperts"/>. Everything accumulates except dMix.</summary>
    /// <param name="x">[T, d].</param>
    /// <param name="mix">[T, 2C].</param>
    /// <param name="constants">[C, d].</param>
    /// <param name="ids">Int32 [T, K].</param>
    /// <param name="weights">Wide [T, K].</param>
    /// <param name="dOut">[T, d].</param>
    /// <param name="spec">Null kinds.</param>
    /// <param name="dX">[T, d], accumulated.</param>
    /// <param name="dMix">[T, 2C].</param>
    /// <param name="dConstants">Wide [C, d], accumulated, tokens in ascending order.</param>
    /// <param name="dWeights">Wide [T, K], accumulated (slots of constant nulls only).</param>
    public void ConstantExpertsBackward(
        Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, Tensor dOut, RouterSpec spec, Tensor dX, Tensor dMix, Tensor dConstants, Tensor dWeights)
    {
        int t = Size(x, 0, 2), d = Size(x, 1, 2);
        CheckGate(ids, weights, t, spec);
        Rows(x, t, d);
        Rows(mix, t, 2L * spec.ConstantSlots);
        Rows(constants, spec.ConstantSlots, d);
        Rows(dOut, t, d);
        Rows(dX, t, d);
        Rows(dMix, t, 2L * spec.ConstantSlots);
        Wide(dConstants, spec.ConstantSlots, d);
        Wide(dWeights, t, spec.TopK);
        ConstantExpertsBackwardCore(x, mix, constants, ids, weights, dOut, spec, dX, dMix, dConstants, dWeights);
    }

#pragma warning disable CS1591 // The Core twins mean what their public methods document.
    protected abstract void GateBackwardCore(
        Tensor logits, Tensor ids, Tensor dWeights, Tensor loads, Tensor dBalanceLoss, Tensor dZLoss, RouterSpec spec, Tensor dLogits);

    protected abstract void ExpertDownBackwardCore(
        Tensor dOut, Tensor z, Tensor w2, RoutingPlan plan, Tensor dZ, Tensor weightedA, Tensor dRowWeight);

    protected abstract void ExpertDownWeightGradCore(Tensor dOut, Tensor weightedA, RoutingPlan plan, Tensor dW2);

    protected abstract void ExpertUpBackwardCore(Tensor dZ, Tensor w1, RoutingPlan plan, Tensor dXRows);

    protected abstract void ExpertUpWeightGradCore(Tensor dZ, Tensor x, RoutingPlan plan, Tensor dW1);

    protected abstract void CombineBackwardCore(
        Tensor dXRows, Tensor dRowWeight, Tensor dOut, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor dX, Tensor dWeights);

    protected abstract void ConstantExpertsBackwardCore(
        Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, Tensor dOut, RouterSpec spec, Tensor dX, Tensor dMix, Tensor dConstants, Tensor dWeights);
#pragma warning restore CS1591
}
