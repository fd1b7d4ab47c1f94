using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <content>
/// Gate, dispatch and combine. Tokens are independent in gate and combine; statistics are summed per chunk of <see cref="TokenChunk"/>
/// tokens and the chunks added in order, in double. Dispatch is a counting sort over chunks of <see cref="RoutingPlan.ChunkTokens"/> tokens: every
/// chunk counts its experts, offsets run over experts and then chunks, and every chunk writes its own rows; exact and stable.
/// </content>
public sealed unsafe partial class CpuBackend
{

    /// <inheritdoc/>
    protected override void GateCore(Tensor logits, Tensor? selectionBias, RouterSpec spec, GateResult result)
    {
        using WideOperands wide = _wide;
        RouterLayout layout = RouterLayout.Of(spec);
        var work = new Operands
        {
            A = wide.Read(logits), B = selectionBias is null ? null : Operands.Floats(selectionBias), Ids = Operands.Ints(result.Ids),
            C = Operands.Floats(result.Weights), Rows = (int)logits.Shape[0], Width = layout.Columns, Step = TokenChunk,
        };

        // Per chunk: a double for the squares, then probability sums, then counts, then counts of rank 1.
        work.Partials = Scratch.Shared(0, work.Chunks * GatePartialLength(layout.Columns));
        Parallel.For(work.Chunks, (Work: work, Layout: layout, Scratch), static (state, chunk) =>
        {
            Operands w = state.Work;
            int columns = w.Width, slots = state.Layout.Spec.TopK;
            float* partial = w.Partials + (chunk * GatePartialLength(columns)), probabilities = partial + 2;
            int* counts = (int*)(probabilities + columns);
            new Span<float>(partial, (int)GatePartialLength(columns)).Clear();
            var kernel = new GateKernel(state.Layout, state.Scratch.Thread(GateKernel.ScratchLength(state.Layout)));
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                nint first = (nint)t * slots;
                double logSumExp = kernel.Route(w.A + ((nint)t * columns), w.B, w.Ids + first, w.C + first, counts, counts + columns, probabilities);
                *(double*)partial += logSumExp * logSumExp;
            }
        });
        SumGateStatistics(work, layout, result);
        var counts = new DispatchWork
        {
            Ids = work.Ids, Next = Operands.Ints(result.ChunkCounts), Tokens = work.Rows, TopK = spec.TopK, Experts = spec.Experts,
        };
        Parallel.For((int)RoutingPlan.Chunks(work.Rows), counts, static (w, chunk) => w.Count(chunk));
    }

    /// <inheritdoc/>
    protected override void DispatchCore(Tensor ids, Tensor weights, Tensor? chunkCounts, RoutingPlan plan)
    {
        int chunks = (int)RoutingPlan.Chunks(plan.Tokens);
        var work = new DispatchWork
        {
            Ids = Operands.Ints(ids), Weights = Operands.Floats(weights), SlotRow = Operands.Ints(plan.SlotRow),
            RowToken = Operands.Ints(plan.RowToken), RowWeight = Operands.Floats(plan.RowWeight),
            Next = (int*)Scratch.Shared(0, (long)chunks * plan.Experts), Tokens = plan.Tokens, TopK = plan.TopK, Experts = plan.Experts,
        };
        if (chunkCounts is null)
        {
            Parallel.For(chunks, work, static (w, chunk) => w.Count(chunk));
        }
        else
        {
            Buffer.MemoryCopy((void*)chunkCounts.Pointer, work.Next, chunkCounts.ByteCount, chunkCounts.ByteCount);
        }

        int* offsets = Operands.Ints(plan.Offsets);
        int row = 0;
        for (int expert = 0; expert < plan.Experts; expert++)
        {
            offsets[expert] = row;
            for (int chunk = 0; chunk < chunks; chunk++)
            {
                int* next = work.Next + ((nint)chunk * plan.Experts) + expert;
                int count = *next;
                *next = row;
                row += count;
            }
        }

        offsets[plan.Experts] = row;
        Parallel.For(chunks, work, static (w, chunk) => w.Place(chunk));
    }

    // A token gathers the rows of its real slots, on average R / T of them, and looks at every slot. Chunks by K alone held a token or two where a
    // threshold router fills 2 of 32 slots: dispatch, experts and combine forward took 8.2 ms instead of 7.1 (MoeSharp.Bench realised, t = 0.3, E = 32).
    private static int TokensPerChunk(RoutingPlan plan, int width)
    {
        long rows = Operands.Ints(plan.Offsets)[plan.Experts];
        return RowsPerChunk((width * Math.Max(1, rows / Math.Max(1, plan.Tokens))) + (8L * plan.TopK));
    }

    /// <inheritdoc/>
    protected override void CombineCore(Tensor y, Tensor x, Tensor ids, Tensor weights, RoutingPlan plan, RouterSpec spec, Tensor output)
    {
        int d = (int)y.Shape[1];
        var work = new Operands
        {
            A = (float*)y.Pointer, B = (float*)x.Pointer, C = Operands.Floats(weights), D = (float*)output.Pointer,
            Ids = Operands.Ints(ids), Rows = plan.Tokens, Width = d, Step = TokensPerChunk(plan, d),
        };
        int* slotRow = Operands.Ints(plan.SlotRow);
        var state = new CombineWork { Operands = work, SlotRow = slotRow, Layout = RouterLayout.Of(spec), Half = FloatType == DType.BFloat16, Scratch = Scratch };
        Parallel.For(work.Chunks, state, static (state, chunk) =>
        {
            Operands w = state.Operands;
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                state.Sum(t, w.A, w.B, w.C, w.D);
            }
        });
    }

    /// <inheritdoc/>
    protected override void ConstantExpertsCore(
        Tensor x, Tensor mix, Tensor constants, Tensor ids, Tensor weights, RouterSpec spec, Tensor output)
    {
        using WideOperands wide = _wide;
        int d = (int)x.Shape[1];
        var work = new Operands
        {
            A = wide.Read(x), B = wide.Read(mix), C = wide.Read(constants), D = Operands.Floats(weights),
            E = wide.Update(output), Ids = Operands.Ints(ids), Rows = (int)x.Shape[0], Width = d, Step = RowsPerChunk(d),
        };
        Parallel.For(work.Chunks, (Work: work, Layout: RouterLayout.Of(spec)), static (state, chunk) =>
        {
            Operands w = state.Work;
            int slots = state.Layout.Spec.TopK, constants = state.Layout.Constants;
            for (nint t = chunk * w.Step; t < w.End(chunk); t++)
            {
                for (int k = 0; k < slots; k++)
                {
                    int constant = state.Layout.ConstantOf(w.Ids[(t * slots) + k]);
                    if (constant >= 0)
                    {
                        (float keep, float replace) = Mix(w.B + (t * 2 * constants) + (2 * constant));
                        float weight = w.D[(t * slots) + k];
                        AddMixed(weight, keep, w.A + (t * w.Width), replace, w.C + ((nint)constant * w.Width), w.E + (t * w.Width), w.Width);
                    }
                }
            }
        });
    }

    /// <inheritdoc/>
    protected override void BalanceLossCore(
        Tensor loads, Tensor otherLoads, Tensor probabilitySums, int tokens, RouterSpec spec, Tensor stepLoads, Tensor balanceLoss)
    {
        int* own = Operands.Ints(loads), others = Operands.Ints(otherLoads), step = Operands.Ints(stepLoads);
        for (int c = 0; c < spec.Columns; c++)
        {
            step[c] = own[c] + others[c];
        }

        *Operands.Floats(balanceLoss) = Balance(RouterLayout.Of(spec), step, Operands.Floats(probabilitySums), tokens);
    }

    private static long GatePartialLength(int columns) => 2 + (3L * columns);

    /// <summary>Softmax over two logits; each share by its own sigmoid, so a small one keeps its digits.</summary>
    private static (float First, float Second) Mix(float* logits) =>
        (VectorMath.Sigmoid(logits[0] - logits[1]), VectorMath.Sigmoid(logits[1] - logits[0]));

    private static void AddMixed(float weight, float keep, float* x, float replace, float* constant, float* output, int n)
    {
        Vector256<float> first = Vector256.Create(keep), second = Vector256.Create(replace), factor = Vector256.Create(weight);
        for (int i = 0; i < n; i += VectorMath.Lanes)
        {
            int rest = n - i;
            Vector256<float> mixed = Vector256.FusedMultiplyAdd(second, VectorMath.Load(constant + i, rest), first * VectorMath.Load(x + i, rest));
            VectorMath.Store(Vector256.FusedMultiplyAdd(factor, mixed, VectorMath.Load(output + i, rest)), output + i, rest);
        }
    }

    /// <summary>Fixed chunks to totals: chunks in order, in double.</summary>
    private static void SumGateStatistics(Operands work, RouterLayout layout, GateResult result)
    {
        int columns = layout.Columns;
        long stride = GatePartialLength(columns);
        double squares = 0;
        int* loads = Operands.Ints(result.Loads);
        float* sums = Operands.Floats(result.ProbabilitySums);
        for (int chunk = 0; chunk < work.Chunks; chunk++)
        {
            squares += *(double*)(work.Partials + (chunk * stride));
        }

        SumCounts(work, columns, columns, Operands.Ints(result.Counts));
        if (result.TopCounts is not null)
        {
            SumCounts(work, columns, 2 * columns, loads);
        }

        for (int c = 0; c < columns; c++)
        {
            double sum = 0;
            for (int chunk = 0; chunk < work.Chunks; chunk++)
            {
                sum += work.Partials[(chunk * stride) + 2 + c];
            }

            sums[c] = (float)sum;
        }

        *Operands.Floats(result.BalanceLoss) = Balance(layout, loads, sums, work.Rows);
        *Operands.Floats(result.ZLoss) = (float)(squares / Math.Max(1, work.Rows));
    }

    /// <summary>S * sum over slots of load / all loads * mean probability, columns in order, in double.</summary>
    private static float Balance(RouterLayout layout, int* loads, float* probabilitySums, int tokens)
    {
        long all = 0;
        int nulls = 0;
        for (int c = 0; c < layout.Columns; c++)
        {
            all += loads[c];
            nulls += c < layout.Experts ? 0 : loads[c];
        }

        double balance = 0;
        for (int c = 0; c < layout.Columns && tokens > 0; c++)
        {
            balance += layout.BalanceLoad(c, loads[c], nulls) / Math.Max(1, all) * probabilitySums[c];
        }

        return (float)((layout.Experts + layout.NullSlots) * balance / Math.Max(1, tokens));
    }

    /// <summary>Adds the integers of all chunks that begin at an offset behind the squares.</summary>
    private static void SumCounts(Operands work, int columns, int offset, int* counts)
    {
        for (int c = 0; c < columns; c++)
        {
            int count = 0;
            for (int chunk = 0; chunk < work.Chunks; chunk++)
            {
                count += ((int*)(work.Partials + (chunk * GatePartialLength(columns)) + 2 + offset))[c];
            }

            counts[c] = count;
        }
    }
}
