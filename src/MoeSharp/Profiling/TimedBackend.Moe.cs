using MoeSharp.Core;

namespace MoeSharp.Profiling;

/// <content>Ops of a MoE layer: their work follows the rows that the routing chose.</content>
internal sealed partial class TimedBackend
{
    /// <inheritdoc/>
    protected override void GateCore(Tensor logits, Tensor? selectionBias, RouterSpec spec, GateResult result)
    {
        Tensor il = In(logits);
        Tensor? ibias = selectionBias is null ? null : In(selectionBias);
        GateResult ir = In(result);
        Time("Gate", Work(logits.Shape[0], spec.TopK, spec.Columns).Gate, () => inner.Gate(il, ibias, spec, ir));
    }

    /// <inheritdoc/>
    protected override void GateBackwardCore(
        Tensor logits, Tensor ids, Tensor dWeights, Tensor loads, Tensor dBalanceLoss, Tensor dZLoss, RouterSpec spec, Tensor dLogits)
    {
        (Tensor il, Tensor ii, Tensor idW, Tensor iload) = (In(logits), In(ids), In(dWeights), In(loads));
        (Tensor idB, Tensor idZ, Tensor idL) = (In(dBalanceLoss), In(dZLoss), In(dLogits));
        Time("GateBackward", Work(logits.Shape[0], spec.TopK, spec.Columns).GateBackward, () => inner.GateBackward(il, ii, idW, iload, idB, idZ, spec, idL));
    }

    /// <inheritdoc/>
    protected override void BalanceLossCore(
        Tensor loads, Tensor otherLoads, Tensor probabilitySums, int tokens, RouterSpec spec, Tensor stepLoads, Tensor balanceLoss)
    {
        (Tensor il, Tensor io, Tensor ip, Tensor isl, Tensor ib) = (In(loads), In(otherLoads), In(probabilitySums), In(stepLoads), In(balanceLoss));
        Time("BalanceLoss", Bytes(loads, otherLoads, probabilitySums, stepLoads), () => inner.BalanceLoss(il, io, ip, tokens, spec, isl, ib));
    }

    /// <inheritdoc/>
    protected override void LimitCapacityCore(
        Tensor ids, Tensor weights, int capacity, RouterSpec spec, CapacityOrder order, Tensor keptIds, Tensor keptWeights, Tensor chunkCounts)
    {
        (Tensor ii, Tensor iw, Tensor ik, Tensor ikw, Tensor ic) = (In(ids), In(weights), In(keptIds), In(keptWeights), In(chunkCounts));
        Time("LimitCapacity", Bytes(ids, weights, keptIds, keptWeights, chunkCounts), () => inner.LimitCapacity(ii, iw, capacity, spec, order, ik, ikw, ic));
    }

    /// <inheritdoc/>
    protected override void DispatchCore(Tensor ids, Tensor weights, Tensor? chunkCounts, RoutingPlan plan)
    {
        (Tensor ii, Tensor iw, RoutingPlan ip) = (In(ids), In(weights), In(plan));
        Tensor? ic = chunkCounts is null ? null : In(chunkCounts);

        // What the routing chose is known afterwards only; the time is booked by hand.
        double microseconds = clock.Time(() => inner.Dispatch(ii, iw, ic, ip));
        int[] offsets = ip.Offsets.ToArray<int>();
        int[] tokens = ip.RowToken.ToArray<int>();
        int rows = offsets[^1];
        _routed[plan.Offsets.Pointer] = new(
            rows, tokens.AsSpan(0, rows).ToArray().Distinct().Count(), offsets.Skip(1).Where((end, e) => end > offsets[e]).Count());
        Book("Dispatch", Work(plan, 0, 0).Dispatch, microseconds);
    }

    /// <inheritdoc/>
    protected override void ExpertUpCore(Tensor x, Tensor w1, RoutingPlan plan, Tensor z, Tensor a)
    {
        (Tensor ix, Tensor iw, RoutingPlan ip, Tensor iz, Tensor ia) = (In(x), In(w1), In(plan), In(z), In(a));
        Time("ExpertUp", Work(plan, x.Shape[1], a.Shape[1]).ExpertUp, () => inner.ExpertUp(ix, iw, ip, iz, ia));
    }

    /// <inheritdoc/>
    protected override void ExpertDownCore(Tensor a, Tensor w2, RoutingPlan plan, Tensor y)
    {
        (Tensor ia, Tensor iw, RoutingPlan ip, Tensor iy) = (In(a), In(w2), In(plan), In(y));
        Time("ExpertDown", Work(plan, y.Shape[1], a.Shape[1]).ExpertDown, () => inner.ExpertDown(ia, iw, ip, iy));
    }

    /// <inheritdoc/>
    protected override void CombineCore(Tensor y, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor output)
    {
        (Tensor iy, Tensor ix, Tensor ii, Tensor iw, RoutingPlan ip, Tensor io) = (In(y), In(x), In(ids), In(weights), In(plan), In(output));
        Time("Combine", Work(plan, y.Shape[1], 0).Combine, () => inner.Combine(iy, ix, ii, iw, ip, spec, io));
    }

    /// <inheritdoc/>
    protected override void ConstantExpertsCore(Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, RouterSpec spec, Tensor output)
    {
        (Tensor ix, Tensor im, Tensor ic, Tensor ii, Tensor iw, Tensor io) = (In(x), In(mix), In(constants), In(ids), In(weights), In(output));
        Time("ConstantExperts", Bytes(x, mix, constants, ids, weights, output, output), () => inner.ConstantExperts(ix, im, ic, ii, iw, spec, io));
    }

    /// <inheritdoc/>
    protected override void ExpertDownBackwardCore(
        Tensor dOut, Tensor z, Tensor w2, RoutingPlan plan, Tensor dZ, Tensor weightedA, Tensor dRowWeight)
    {
        (Tensor ido, Tensor iz, Tensor iw, RoutingPlan ip) = (In(dOut), In(z), In(w2), In(plan));
        (Tensor idz, Tensor ia, Tensor idw) = (In(dZ), In(weightedA), In(dRowWeight));
        OpWork work = Work(plan, dOut.Shape[1], weightedA.Shape[1]).ExpertDownBackward;
        Time("ExpertDownBackward", work, () => inner.ExpertDownBackward(ido, iz, iw, ip, idz, ia, idw));
    }

    /// <inheritdoc/>
    protected override void ExpertDownWeightGradCore(Tensor dOut, Tensor weightedA, RoutingPlan plan, Tensor dW2)
    {
        (Tensor ido, Tensor ia, RoutingPlan ip, Tensor idw) = (In(dOut), In(weightedA), In(plan), In(dW2));
        OpWork work = Work(plan, dOut.Shape[1], weightedA.Shape[1]).ExpertDownWeightGrad;
        Time("ExpertDownWeightGrad", work, () => inner.ExpertDownWeightGrad(ido, ia, ip, idw));
    }

    /// <inheritdoc/>
    protected override void ExpertUpBackwardCore(Tensor dZ, Tensor w1, RoutingPlan plan, Tensor dXRows)
    {
        (Tensor idz, Tensor iw, RoutingPlan ip, Tensor idx) = (In(dZ), In(w1), In(plan), In(dXRows));
        Time("ExpertUpBackward", Work(plan, dXRows.Shape[1], dZ.Shape[1] / 2).ExpertUpBackward, () => inner.ExpertUpBackward(idz, iw, ip, idx));
    }

    /// <inheritdoc/>
    protected override void ExpertUpWeightGradCore(Tensor dZ, Tensor x, RoutingPlan plan, Tensor dW1)
    {
        (Tensor idz, Tensor ix, RoutingPlan ip, Tensor idw) = (In(dZ), In(x), In(plan), In(dW1));
        Time("ExpertUpWeightGrad", Work(plan, x.Shape[1], dZ.Shape[1] / 2).ExpertUpWeightGrad, () => inner.ExpertUpWeightGrad(idz, ix, ip, idw));
    }

    /// <inheritdoc/>
    protected override void CombineBackwardCore(
        Tensor dXRows, Tensor dRowWeight, Tensor dOut, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor dX, Tensor dWeights)
    {
        (Tensor idr, Tensor idrw, Tensor ido, Tensor ix, Tensor ii) = (In(dXRows), In(dRowWeight), In(dOut), In(x), In(ids));
        (Tensor iw, RoutingPlan ip, Tensor idx, Tensor idw) = (In(weights), In(plan), In(dX), In(dWeights));
        OpWork work = Work(plan, dXRows.Shape[1], 0).CombineBackward;
        Time("CombineBackward", work, () => inner.CombineBackward(idr, idrw, ido, ix, ii, iw, ip, spec, idx, idw));
    }

    /// <inheritdoc/>
    protected override void ConstantExpertsBackwardCore(
        Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, Tensor dOut, RouterSpec spec, Tensor dX, Tensor dMix, Tensor dConstants, Tensor dWeights)
    {
        (Tensor ix, Tensor im, Tensor ic, Tensor ii, Tensor iw, Tensor ido) = (In(x), In(mix), In(constants), In(ids), In(weights), In(dOut));
        (Tensor idx, Tensor idm, Tensor idc, Tensor idw) = (In(dX), In(dMix), In(dConstants), In(dWeights));
        double bytes = Bytes(x, mix, constants, ids, weights, dOut, dMix) + (2 * Bytes(dX, dConstants, dWeights));
        Time("ConstantExpertsBackward", bytes, () => inner.ConstantExpertsBackward(ix, im, ic, ii, iw, ido, spec, idx, idm, idc, idw));
    }

    private LayerWork Work(long tokens, int topK, int columns) =>
        new(tokens, 0, 0, topK, columns, 0, 0, 0, FloatType.Size(), WideType.Size());

    private LayerWork Work(RoutingPlan plan, long hidden, long width)
    {
        Routed routed = _routed.GetValueOrDefault(plan.Offsets.Pointer);
        return new(plan.Tokens, hidden, width, plan.TopK, 0, routed.Rows, routed.Tokens, routed.Experts, FloatType.Size(), WideType.Size());
    }
}
