namespace MoeSharp.Core;

/// <content>The MoE layer, forward: gate, dispatch, experts, combine. Null slots never become rows.</content>
public abstract partial class Backend
{
    /// <summary>Router logits to expert ids, combine weights and routing statistics; see <see cref="RouterSpec"/> for the rules.</summary>
    /// <remarks>
    /// With s = score of a slot (softmax over all S slots, or sigmoid), the weight of a chosen slot is
    /// scale * s / D; D is 1, the sum over the chosen slots, or over the chosen slots that are not zero nulls (softmax: computed as a
    /// softmax over those logits, exact for any M; sigmoid: plus epsilon). All-null tokens get weights 0.
    /// Probabilities of the statistics: the softmax, or the sigmoid scores divided by their sum over all slots. ReLU scores stay as they
    /// are: the balance loss is then the load-weighted L1 norm of ReMoE (arXiv 2412.14711, eq. 7-8), S * sum over slots of f_s * mean
    /// score, with f_s over the slots that fired in this batch where ReMoE divides by its target; its adaptive factor absorbs the rest.
    /// Statistics are summed over fixed chunks of tokens in a fixed order.
    /// </remarks>
    /// <param name="logits">[T, C], C = <see cref="RouterSpec.Columns"/>.</param>
    /// <param name="selectionBias">Wide [C], or null unless <see cref="RouterSpec.SelectionBias"/> asks for it. Part of the choice only.</param>
    /// <param name="spec">The routing rules, validated.</param>
    /// <param name="result">Destinations.</param>
    public void Gate(Tensor logits, Tensor? selectionBias, RouterSpec spec, GateResult result)
    {
        spec.Validate();
        int t = Size(logits, 0, 2);
        Rows(logits, t, spec.Columns);
        Guard.That(
            (selectionBias is not null) == (spec.SelectionBias != SelectionBias.None),
            $"The router says SelectionBias.{spec.SelectionBias}, so a bias tensor is {(selectionBias is null ? "needed" : "not taken")}.");
        if (selectionBias is not null)
        {
            Wide(selectionBias, spec.Columns);
        }

        CheckGate(result.Ids, result.Weights, t, spec);
        Guard.Is(result.Counts, DType.Int32, [spec.Columns]);
        Guard.Is(result.ChunkCounts, DType.Int32, [RoutingPlan.Chunks(t), spec.Experts]);
        Guard.That(
            (result.TopCounts is not null) == (spec.BalanceLoad == BalanceLoad.Top1),
            $"The router says BalanceLoad.{spec.BalanceLoad}, so top counts are {(result.TopCounts is null ? "needed" : "not taken")}.");
        if (result.TopCounts is not null)
        {
            Guard.Is(result.TopCounts, DType.Int32, [spec.Columns]);
        }

        Wide(result.ProbabilitySums, spec.Columns);
        Wide(result.BalanceLoss, 1);
        Wide(result.ZLoss, 1);
        GateCore(logits, selectionBias, spec, result);
    }

    /// <summary>The balance loss of a gate whose tokens are part of a larger step: the same loss with the loads of the whole step.</summary>
    /// <remarks>
    /// The loads are constants of the loss and the probabilities are means over tokens. So over passes of equally many tokens, each with the
    /// loads of all of them, the mean of these losses is the loss of one pass over all tokens, and the mean of their gradients is its gradient;
    /// give <see cref="GateBackward"/> <paramref name="stepLoads"/>. Without other loads it is the loss of <see cref="Gate"/>, bit for bit.
    /// </remarks>
    /// <param name="loads">Int32 [C]: <see cref="GateResult.Loads"/> of the pass.</param>
    /// <param name="otherLoads">Int32 [C]: loads of the rest of the step.</param>
    /// <param name="probabilitySums">Wide [C] of the pass.</param>
    /// <param name="tokens">T of the pass.</param>
    /// <param name="spec">The routing rules.</param>
    /// <param name="stepLoads">Int32 [C]: the sum of both loads.</param>
    /// <param name="balanceLoss">Wide [1]: S * sum over slots of f_s q_s, f = step load / sum of all step loads, q = mean probability in the pass; 0 for T = 0.</param>
    public void BalanceLoss(
        Tensor loads, Tensor otherLoads, Tensor probabilitySums, int tokens, RouterSpec spec, Tensor stepLoads, Tensor balanceLoss)
    {
        Guard.That(tokens >= 0, $"A pass has at least 0 tokens, got {tokens}.");
        Guard.Is(loads, DType.Int32, [spec.Columns]);
        Guard.Is(otherLoads, DType.Int32, [spec.Columns]);
        Wide(probabilitySums, spec.Columns);
        Guard.Is(stepLoads, DType.Int32, [spec.Columns]);
        Wide(balanceLoss, 1);
        BalanceLossCore(loads, otherLoads, probabilitySums, tokens, spec, stepLoads, balanceLoss);
    }

    /// <summary>Optional, between gate and dispatch: every real expert keeps at most C (token, slot) pairs, the others become empty slots.</summary>
    /// <remarks>
    /// The order in which an expert keeps its pairs is <see cref="CapacityOrder"/>. Weights are not normalised again. NOT CAUSAL: whether a token
    /// keeps an expert depends on later tokens and on the batch; leave it out when generating. The gradient needs no op of its own:
    /// a dropped pair has no row, so <see cref="CombineBackward"/> gives it none, and <see cref="GateBackward"/> takes the ids of the gate.
    /// Exact: the same pairs on every backend for the same weights.
    /// </remarks>
    /// <param name="ids">Int32 [T, K] from <see cref="Gate"/>; ids that are no real expert are copied.</param>
    /// <param name="weights">Wide [T, K].</param>
    /// <param name="capacity">C &gt;= 1; see <see cref="RouterSpec.CapacityFor"/>.</param>
    /// <param name="spec">The routing rules.</param>
    /// <param name="order">Which pairs go first.</param>
    /// <param name="keptIds">Int32 [T, K]: <paramref name="ids"/>, <see cref="RouterSpec.EmptyId"/> where dropped.</param>
    /// <param name="keptWeights">Wide [T, K]: <paramref name="weights"/>, 0 where dropped.</param>
    /// <param name="chunkCounts">Int32 [ceil(T / 256), E] of the kept ids, for <see cref="Dispatch"/>.</param>
    public void LimitCapacity(
        Tensor ids, Tensor weights, int capacity, RouterSpec spec, CapacityOrder order, Tensor keptIds, Tensor keptWeights, Tensor chunkCounts)
    {
        int t = Size(ids, 0, 2);
        Guard.That(capacity >= 1, $"The capacity of an expert is at least 1 token, got {capacity}.");
        CheckGate(ids, weights, t, spec);
        CheckGate(keptIds, keptWeights, t, spec);
        Guard.Is(chunkCounts, DType.Int32, [RoutingPlan.Chunks(t), spec.Experts]);
        Distinct(keptIds, ids);
        Distinct(keptWeights, weights);
        LimitCapacityCore(ids, weights, capacity, spec, order, keptIds, keptWeights, chunkCounts);
    }

    /// <summary>Ids and weights to a <see cref="RoutingPlan"/>: a stable counting sort of the real slots.</summary>
    /// <remarks>Exact integers. Ids &lt; 0 or &gt;= E get no row. Rows of an expert are in ascending (token, slot) order; a repeated id gives two rows.</remarks>
    /// <param name="ids">Int32 [T, K].</param>
    /// <param name="weights">Wide [T, K].</param>
    /// <param name="chunkCounts"><see cref="GateResult.ChunkCounts"/> when the ids come from <see cref="Gate"/>, so that they need not be counted again; null otherwise.</param>
    /// <param name="plan">Destination.</param>
    public void Dispatch(Tensor ids, Tensor weights, Tensor? chunkCounts, RoutingPlan plan)
    {
        Guard.Is(ids, DType.Int32, [plan.Tokens, plan.TopK]);
        Wide(weights, plan.Tokens, plan.TopK);
        if (chunkCounts is not null)
        {
            Guard.Is(chunkCounts, DType.Int32, [RoutingPlan.Chunks(plan.Tokens), plan.Experts]);
        }

        CheckPlan(plan);
        DispatchCore(ids, weights, chunkCounts, plan);
    }

    /// <summary>z = x[token of row] W1[expert]^T, a = swiglu(z), for the R real rows; the gather is part of the load.</summary>
    /// <param name="x">[T, d].</param>
    /// <param name="w1">[E, 2n, d]: gate rows, then up rows.</param>
    /// <param name="plan">The routing.</param>
    /// <param name="z">[T*K, 2n], first R rows written: gate columns, then up columns.</param>
    /// <param name="a">[T*K, n], first R rows written.</param>
    public void ExpertUp(Tensor x, Tensor w1, RoutingPlan plan, Tensor z, Tensor a)
    {
        int d = Size(x, 1, 2), n = Size(a, 1, 2);
        CheckPlan(plan);
        Rows(x, plan.Tokens, d);
        Is(w1, plan.Experts, 2L * n, d);
        Rows(z, plan.Capacity, 2L * n);
        Rows(a, plan.Capacity, n);
        ExpertUpCore(x, w1, plan, z, a);
    }

    /// <summary>y = a W2[expert]^T for the R real rows.</summary>
    /// <param name="a">[T*K, n].</param>
    /// <param name="w2">[E, d, n].</param>
    /// <param name="plan">The routing.</param>
    /// <param name="y">[T*K, d], first R rows written.</param>
    public void ExpertDown(Tensor a, Tensor w2, RoutingPlan plan, Tensor y)
    {
        int d = Size(y, 1, 2), n = Size(a, 1, 2);
        CheckPlan(plan);
        Rows(a, plan.Capacity, n);
        Is(w2, plan.Experts, d, n);
        Rows(y, plan.Capacity, d);
        ExpertDownCore(a, w2, plan, y);
    }

    /// <summary>out[t] = sum over slots in order of weight * y[row], plus (sum of identity-null weights) * x[t].</summary>
    /// <remarks>Gather and sum: no scatter, no atomics. A token whose slots are all zero nulls gets exactly 0; y is not read for it.</remarks>
    /// <param name="y">[T*K, d].</param>
    /// <param name="x">[T, d], the layer input (read for identity nulls only).</param>
    /// <param name="ids">Int32 [T, K].</param>
    /// <param name="weights">Wide [T, K].</param>
    /// <param name="plan">The routing.</param>
    /// <param name="spec">Null kinds.</param>
    /// <param name="output">[T, d].</param>
    public void Combine(Tensor y, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor output)
    {
        int d = Size(y, 1, 2);
        CheckPlan(plan);
        CheckGate(ids, weights, plan.Tokens, spec);
        Rows(y, plan.Capacity, d);
        Rows(x, plan.Tokens, d);
        Rows(output, plan.Tokens, d);
        Distinct(output, x, y);
        CombineCore(y, x, ids, weights, plan, spec, output);
    }

    /// <summary>output[t] += sum over chosen constant nulls j of weight * (m0 x[t] + m1 constants[j]), (m0, m1) = softmax(mix[t, 2j..2j+1]) (MoE++, arXiv 2410.07348).</summary>
    /// <param name="x">[T, d].</param>
    /// <param name="mix">[T, 2C]: logits x Wc^T.</param>
    /// <param name="constants">[C, d]; C = <see cref="RouterSpec.ConstantSlots"/>, numbered in slot order.</param>
    /// <param name="ids">Int32 [T, K].</param>
    /// <param name="weights">Wide [T, K].</param>
    /// <param name="spec">Null kinds.</param>
    /// <param name="output">[T, d], accumulated.</param>
    public void ConstantExperts(Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, RouterSpec spec, Tensor output)
    {
        int t = Size(x, 0, 2), d = Size(x, 1, 2);
        CheckGate(ids, weights, t, spec);
        Rows(x, t, d);
        Rows(mix, t, 2L * spec.ConstantSlots);
        Rows(constants, spec.ConstantSlots, d);
        Rows(output, t, d);
        ConstantExpertsCore(x, mix, constants, ids, weights, spec, output);
    }

#pragma warning disable CS1591 // The Core twins mean what their public methods document.
    protected abstract void GateCore(Tensor logits, Tensor? selectionBias, RouterSpec spec, GateResult result);

    protected abstract void BalanceLossCore(
        Tensor loads, Tensor otherLoads, Tensor probabilitySums, int tokens, RouterSpec spec, Tensor stepLoads, Tensor balanceLoss);

    protected abstract void LimitCapacityCore(
        Tensor ids, Tensor weights, int capacity, RouterSpec spec, CapacityOrder order, Tensor keptIds, Tensor keptWeights, Tensor chunkCounts);

    protected abstract void DispatchCore(Tensor ids, Tensor weights, Tensor? chunkCounts, RoutingPlan plan);

    protected abstract void ExpertUpCore(Tensor x, Tensor w1, RoutingPlan plan, Tensor z, Tensor a);

    protected abstract void ExpertDownCore(Tensor a, Tensor w2, RoutingPlan plan, Tensor y);

    protected abstract void CombineCore(Tensor y, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor output);

    protected abstract void ConstantExpertsCore(Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, RouterSpec spec, Tensor output);
#pragma warning restore CS1591

    private void CheckGate(Tensor ids, Tensor weights, long tokens, RouterSpec spec)
    {
        Guard.Is(ids, DType.Int32, [tokens, spec.TopK]);
        Wide(weights, tokens, spec.TopK);
    }

    private void CheckPlan(RoutingPlan plan)
    {
        Guard.Is(plan.Offsets, DType.Int32, [plan.Experts + 1L]);
        Guard.Is(plan.RowToken, DType.Int32, [plan.Capacity]);
        Wide(plan.RowWeight, plan.Capacity);
        Guard.Is(plan.SlotRow, DType.Int32, [plan.Tokens, plan.TopK]);
    }
}
