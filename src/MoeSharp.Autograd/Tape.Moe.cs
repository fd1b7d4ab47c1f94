using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <content>The operations of a Mixture-of-Experts layer.</content>
public sealed partial class Tape
{
    /// <summary>Router logits to expert ids, combine weights and auxiliary losses. The choice itself has no gradient.</summary>
    /// <param name="logits">[T, C].</param>
    /// <param name="selectionBias">[C], or null unless the spec asks for it. It has no gradient.</param>
    /// <param name="spec">The routing rules.</param>
    /// <param name="otherLoads">Int32 [C]: what the balance loss adds to the loads of this pass (see <see cref="Backend.BalanceLoss"/>), or null.</param>
    public GateNode Gate(Variable logits, Tensor? selectionBias, RouterSpec spec, Tensor? otherLoads = null)
    {
        long t = logits.Shape[0];
        var result = new GateResult(
            Rent(DType.Int32, t, spec.TopK),
            Wide(t, spec.TopK),
            Rent(DType.Int32, spec.Columns),
            Rent(DType.Int32, RoutingPlan.Chunks(t), spec.Experts),
            Wide(spec.Columns),
            Wide(1),
            Wide(1),
            spec.BalanceLoad == BalanceLoad.Top1 ? Rent(DType.Int32, spec.Columns) : null);
        Backend.Gate(logits.Value, selectionBias, spec, result);
        Tensor loads = result.Loads;
        if (otherLoads is not null)
        {
            loads = Rent(DType.Int32, spec.Columns);
            Backend.BalanceLoss(result.Loads, otherLoads, result.ProbabilitySums, checked((int)t), spec, loads, result.BalanceLoss);
        }

        bool needs = Recording && logits.RequiresGradient;
        var node = new GateNode(
            new Variable(result.Weights, needs), new Variable(result.BalanceLoss, needs), new Variable(result.ZLoss, needs), result);
        Record(TapeOp.Gate, [node.Weights, node.BalanceLoss, node.ZLoss], [logits], [], [], (result, loads, spec));
        return node;
    }

    /// <summary>Logits plus noise of a learnt spread; see <see cref="Backend.NoisyLogits"/>.</summary>
    /// <param name="logits">[T, E].</param>
    /// <param name="spread">[T, E].</param>
    /// <param name="stream">Which random numbers.</param>
    /// <returns>[T, E].</returns>
    public Variable NoisyLogits(Variable logits, Variable spread, NoiseRange stream)
    {
        Tensor noise = Wide(logits.Shape[0], logits.Shape[1]), noisy = RentLike(logits.Value);
        Backend.NoisyLogits(logits.Value, spread.Value, stream, noise, noisy);
        return Record(TapeOp.NoisyLogits, noisy, [logits, spread], [], [noise]);
    }

    /// <summary>Squared variation of importance and load; see <see cref="Backend.NoisyBalance"/>.</summary>
    /// <param name="logits">[T, E], without noise.</param>
    /// <param name="spread">[T, E].</param>
    /// <param name="noisy">From <see cref="NoisyLogits"/>.</param>
    /// <param name="gate">From <see cref="Gate"/> over the noisy logits.</param>
    /// <param name="spec">The routing rules.</param>
    /// <returns>[1].</returns>
    public Variable NoisyBalance(Variable logits, Variable spread, Variable noisy, GateNode gate, RouterSpec spec)
    {
        Tensor runnerUp = Rent(DType.Int32, logits.Shape[0]), statistics = Wide(4, spec.Experts), loss = Wide(1);
        Backend.NoisyBalance(
            logits.Value, spread.Value, noisy.Value, gate.Result.Ids, gate.Result.Weights, spec, runnerUp, statistics, loss);
        return Record(TapeOp.NoisyBalance, loss, [logits, spread, noisy, gate.Weights], [], [runnerUp, statistics], (gate.Result.Ids, spec));
    }

    /// <summary>The same gate with at most <paramref name="capacity"/> pairs per expert; see <see cref="Backend.LimitCapacity"/>. Not causal.</summary>
    /// <remarks>Losses and counts are those of before. Weights of dropped pairs get no gradient, the others theirs as if nothing had been dropped.</remarks>
    /// <param name="gate">From <see cref="Gate"/>.</param>
    /// <param name="capacity">Pairs an expert keeps, at least 1.</param>
    /// <param name="spec">The routing rules.</param>
    /// <param name="order">Which pairs an expert keeps first.</param>
    public GateNode LimitCapacity(GateNode gate, int capacity, RouterSpec spec, CapacityOrder order = CapacityOrder.RankFirst)
    {
        long t = gate.Result.Ids.Shape[0];
        GateResult kept = gate.Result with
        {
            Ids = Rent(DType.Int32, t, spec.TopK), Weights = Wide(t, spec.TopK), ChunkCounts = Rent(DType.Int32, RoutingPlan.Chunks(t), spec.Experts),
        };
        Backend.LimitCapacity(gate.Result.Ids, gate.Result.Weights, capacity, spec, order, kept.Ids, kept.Weights, kept.ChunkCounts);
        return gate with { Result = kept, RowLimit = (int)Math.Min(t * spec.TopK, (long)Math.Min(t, capacity) * spec.Experts) };
    }

    /// <summary>Dispatch, expert up, expert down and combine as one operation; work and memory follow the real rows.</summary>
    /// <remarks>Kept for backward: x, z [rows, 2n] and the routing, rows being T*K or what a capacity bounds them by. Null slots of kind zero and identity are part of the combine.</remarks>
    /// <param name="x">[T, d].</param>
    /// <param name="gate">From <see cref="Gate"/>.</param>
    /// <param name="w1">[E, 2n, d]: gate rows, then up rows.</param>
    /// <param name="w2">[E, d, n].</param>
    /// <param name="spec">The routing rules.</param>
    /// <param name="plan">The routing of this call; valid until <see cref="Reset"/>.</param>
    /// <returns>[T, d].</returns>
    public Variable Experts(Variable x, GateNode gate, Parameter w1, Parameter w2, RouterSpec spec, out RoutingPlan plan)
    {
        int t = checked((int)x.Shape[0]);
        long rows = gate.RowLimit > 0 ? gate.RowLimit : checked((long)t * spec.TopK), n = w2.Value.Shape[2], d = w2.Value.Shape[1];
        plan = new RoutingPlan(
            t,
            spec.TopK,
            spec.Experts,
            Rent(DType.Int32, spec.Experts + 1L),
            Rent(DType.Int32, rows),
            Wide(rows),
            Rent(DType.Int32, t, spec.TopK)) { RowLimit = gate.RowLimit };
        Backend.Dispatch(gate.Result.Ids, gate.Result.Weights, gate.Result.ChunkCounts, plan);
        Tensor z = Float(rows, 2 * n), a = Float(rows, n);
        Backend.ExpertUp(x.Value, w1.Value, plan, z, a);
        Tensor y = Float(rows, d), output = Float(t, d);
        Backend.ExpertDown(a, w2.Value, plan, y);
        Return(a);
        Backend.Combine(y, x.Value, gate.Result.Ids, gate.Result.Weights, plan, spec, output);
        Return(y);
        return Record(TapeOp.Experts, output, [x, gate.Weights], [w1, w2], [z], (plan, gate.Result, spec));
    }

    /// <summary>Adds the constant null experts (MoE++, arXiv 2410.07348) to an output, in place.</summary>
    /// <param name="x">[T, d].</param>
    /// <param name="mix">[T, 2C] mixing logits.</param>
    /// <param name="constants">[C, d].</param>
    /// <param name="gate">From <see cref="Gate"/>.</param>
    /// <param name="spec">The routing rules.</param>
    /// <param name="output">[T, d] from <see cref="Experts"/>; its memory is written, use the result instead of it.</param>
    /// <returns>[T, d], in the memory of <paramref name="output"/>.</returns>
    public Variable ConstantExperts(Variable x, Variable mix, Parameter constants, GateNode gate, RouterSpec spec, Variable output)
    {
        Backend.ConstantExperts(x.Value, mix.Value, constants.Value, gate.Result.Ids, gate.Result.Weights, spec, output.Value);
        Tensor sum = Share(output.Value, [.. output.Shape]);
        return Record(TapeOp.ConstantExperts, sum, [x, mix, gate.Weights, output], [constants], [], (gate.Result, spec));
    }
}
