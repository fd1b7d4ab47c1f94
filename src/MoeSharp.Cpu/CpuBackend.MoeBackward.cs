using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <content>
/// Gate, combine and constant experts, backward. Everything is per token except the gradient of the constants, which is cut by columns:
/// each thread walks the tokens in ascending order.
/// </content>
public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void GateBackwardCore(
        Tensor logits, Tensor ids, Tensor dWeights, Tensor loads, Tensor dBalanceLoss, Tensor dZLoss, RouterSpec spec, Tensor dLogits)
    {
        using WideOperands wide = _wide;
        RouterLayout layout = RouterLayout.Of(spec);
        int tokens = (int)logits.Shape[0], columns = layout.Columns;
        float* balance = Scratch.Shared(0, columns), copies = Scratch.Shared(1, columns);
        int* load = Operands.Ints(loads);
        int nulls = 0;
        long all = 0;
        for (int c = 0; c < columns; c++)
        {
            nulls += c < layout.Experts ? 0 : load[c];
            all += load[c];
        }

        // S / T of the loss, 1 / sum of all loads.
        double perToken = (layout.Experts + layout.NullSlots) * (double)*Operands.Floats(dBalanceLoss) / Math.Max(1, tokens);
        double perSlot = perToken / Math.Max(1, all);
        for (int c = 0; c < columns; c++)
        {
            balance[c] = (float)(perSlot * layout.BalanceLoad(c, load[c], nulls));
            copies[c] = layout.Copies(c);
        }

        var work = new Operands
        {
            A = wide.Read(logits), B = Operands.Floats(dWeights), C = wide.Write(dLogits), D = balance, E = copies,
            Ids = Operands.Ints(ids), Rows = tokens, Width = columns, Step = TokenChunk,
            Scalar = (float)(2.0 * *Operands.Floats(dZLoss) / Math.Max(1, tokens)),
        };
        Parallel.For(work.Chunks, (Work: work, Layout: layout, Scratch), static (state, chunk) =>
        {
            Operands w = state.Work;
            nint slots = state.Layout.Spec.TopK;
            var kernel = new GateGradient(state.Layout, state.Scratch.Thread(GateGradient.ScratchLength(state.Layout)));
            for (nint t = chunk * w.Step; t < w.End(chunk); t++)
            {
                kernel.Run(w.A + (t * w.Width), w.Ids + (t * slots), w.B + (t * slots), w.D, w.E, w.Scalar, w.C + (t * w.Width));
            }
        });
    }

    /// <inheritdoc/>
    protected override void CombineBackwardCore(
        Tensor dXRows, Tensor dRowWeight, Tensor dOut, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor dX, Tensor dWeights)
    {
        using WideOperands wide = _wide;
        int d = (int)dXRows.Shape[1];
        var work = new Operands
        {
            A = (float*)dXRows.Pointer, B = (float*)dOut.Pointer, C = spec.HasIdentity ? wide.Read(x) : null, D = (float*)dX.Pointer,
            E = Operands.Floats(dRowWeight), F = Operands.Floats(weights), Partials = Operands.Floats(dWeights),
            Ids = Operands.Ints(ids), Rows = plan.Tokens, Width = d, Step = TokensPerChunk(plan, d),
        };
        int* slotRow = Operands.Ints(plan.SlotRow);
        var state = new CombineWork { Operands = work, SlotRow = slotRow, Layout = RouterLayout.Of(spec), Half = FloatType == DType.BFloat16, Scratch = Scratch };
        float* gradients = spec.HasIdentity ? wide.Read(dOut) : null;
        Parallel.For(work.Chunks, (Combine: state, Gradients: (nint)gradients), static (both, chunk) =>
        {
            CombineWork state = both.Combine;
            Operands w = state.Operands;
            int slots = state.Layout.Spec.TopK;
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                state.Sum(t, w.A, w.B, null, w.D);
                for (nint slot = (nint)t * slots; slot < ((nint)t + 1) * slots; slot++)
                {
                    nint first = (nint)t * w.Width;
                    w.Partials[slot] = state.SlotRow[slot] >= 0 ? w.E[state.SlotRow[slot]]
                        : state.Layout.IsNull(w.Ids[slot], NullKind.Identity) ? VectorMath.Dot((float*)both.Gradients + first, w.C + first, w.Width)
                        : 0f;
                }
            }
        });
    }

    /// <inheritdoc/>
    protected override void ConstantExpertsBackwardCore(
        Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, Tensor dOut, RouterSpec spec, Tensor dX, Tensor dMix, Tensor dConstants, Tensor dWeights)
    {
        using WideOperands wide = _wide;
        RouterLayout layout = RouterLayout.Of(spec);
        int d = (int)x.Shape[1], slots = spec.TopK;
        var work = new ConstantWork
        {
            X = wide.Read(x), Mix = wide.Read(mix), Constants = wide.Read(constants), Weights = Operands.Floats(weights),
            DOut = wide.Read(dOut), DX = wide.Update(dX), DMix = wide.Write(dMix), DConstants = Operands.Floats(dConstants),
            DWeights = Operands.Floats(dWeights), Ids = Operands.Ints(ids), Layout = layout, Tokens = (int)x.Shape[0], Width = d,
            Factors = Scratch.Shared(0, x.Shape[0] * slots), Step = RowsPerChunk(d),
        };
        Parallel.For((work.Tokens + work.Step - 1) / work.Step, work, static (w, chunk) => w.Tokenwise(chunk));
        Parallel.For((d + ColumnsPerChunk - 1) / ColumnsPerChunk, work, static (w, block) =>
            w.Columnwise(block * ColumnsPerChunk, Math.Min(ColumnsPerChunk, w.Width - (block * ColumnsPerChunk))));
    }
}
