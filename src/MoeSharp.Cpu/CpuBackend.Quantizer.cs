using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <content>
/// Vector quantisation. Forward is one pass over the tokens: a row meets all codes, four at a time, while it is in the first-level cache, and
/// is mixed with the nearest at once. Backward is a pass over the tokens and one over blocks of columns, in which tokens stay in order.
/// </content>
public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void QuantizeCore(Tensor x, Tensor codebook, QuantizerSpec spec, Tensor codes, Tensor distances, Tensor loss, Tensor y)
    {
        using WideOperands wide = _wide;
        int n = (int)codebook.Shape[0], d = (int)codebook.Shape[1];
        var work = new QuantizerWork(spec)
        {
            X = wide.Read(x), Codebook = wide.Read(codebook), Y = wide.Write(y), Codes = Operands.Ints(codes), Distances = Operands.Floats(distances),
            Tokens = (int)x.Shape[0], Width = d, Count = n, Step = RowsPerChunk((long)d * n),
        };
        work.Inverses = Scratch.Shared(0, n);
        work.Units = spec.Distance == CodeDistance.Cosine ? Scratch.Shared(1, (long)n * d) : work.Codebook;
        for (int j = 0; j < n; j++)
        {
            work.Inverses[j] = work.Unit(work.Codebook + ((nint)j * d), work.Units + ((nint)j * d));
        }

        Parallel.For(QuantizerWork.Chunks(work.Tokens, work.Step), (Work: work, Scratch), static (state, chunk) =>
            state.Work.Nearest(chunk, state.Scratch.Thread(state.Work.Width)));
        double sum = 0;
        for (int t = 0; t < work.Tokens; t++)
        {
            sum += work.Distances[t];
        }

        *Operands.Floats(loss) = x.ElementCount == 0 ? 0f : (float)((1 + spec.Commitment) * sum / x.ElementCount);
    }

    /// <inheritdoc/>
    protected override void QuantizeBackwardCore(
        Tensor x, Tensor codebook, Tensor codes, Tensor dLoss, Tensor dY, QuantizerSpec spec, Tensor dX, Tensor dCodebook)
    {
        using WideOperands wide = _wide;
        CheckIds(codes, codebook.Shape[0]);
        int tokens = (int)x.Shape[0], d = (int)x.Shape[1];
        var work = new QuantizerWork(spec)
        {
            X = wide.Read(x), Codebook = wide.Read(codebook), DY = wide.Read(dY), DX = wide.Write(dX), DCodebook = Operands.Floats(dCodebook),
            Codes = Operands.Ints(codes), Tokens = tokens, Width = d, Count = (int)codebook.Shape[0], Step = RowsPerChunk(d),
            Slope = (float)(2.0 * *Operands.Floats(dLoss) / Math.Max(1, x.ElementCount)), Shares = Scratch.Shared(0, 2L * tokens),
        };
        Parallel.For(QuantizerWork.Chunks(tokens, work.Step), work, static (w, chunk) => w.Tokenwise(chunk));
        Parallel.For(QuantizerWork.Chunks(d, ColumnsPerChunk), work, static (w, chunk) =>
            w.Columnwise(chunk * ColumnsPerChunk, Math.Min(ColumnsPerChunk, w.Width - (chunk * ColumnsPerChunk))));
    }

    /// <inheritdoc/>
    protected override void AssignCodesCore(Tensor codes, Tensor map, Tensor ids, Tensor counts, Tensor chunkCounts)
    {
        CheckIds(codes, map.Shape[0]);
        int tokens = (int)codes.ElementCount, experts = (int)counts.ElementCount;
        int* code = Operands.Ints(codes), expertOf = Operands.Ints(map), id = Operands.Ints(ids), count = Operands.Ints(counts);
        for (int t = 0; t < tokens; t++)
        {
            id[t] = expertOf[code[t]];
        }

        var work = new DispatchWork { Ids = id, Next = Operands.Ints(chunkCounts), Tokens = tokens, TopK = 1, Experts = experts };
        int chunks = (int)RoutingPlan.Chunks(tokens);
        Parallel.For(chunks, work, static (w, chunk) => w.Count(chunk));
        new Span<int>(count, experts).Clear();
        for (nint i = 0; i < (nint)chunks * experts; i++)
        {
            count[i % experts] += work.Next[i];
        }
    }

    /// <inheritdoc/>
    protected override void CodeUsageCore(Tensor codes, double decay, Tensor usage)
    {
        var code = new ReadOnlySpan<int>(Operands.Ints(codes), checked((int)codes.ElementCount));
        var share = new Span<float>(Operands.Floats(usage), checked((int)usage.ElementCount));
        if (code.IsEmpty)
        {
            return;
        }

        int[] counts = new int[share.Length];
        foreach (int j in code)
        {
            if ((uint)j < (uint)counts.Length)
            {
                counts[j]++;
            }
        }

        for (int j = 0; j < share.Length; j++)
        {
            share[j] = (float)((decay * share[j]) + ((1 - decay) * counts[j] / code.Length));
        }
    }

    /// <inheritdoc/>
    protected override void ReviveCodesCore(Tensor anchors, Tensor usage, double decay, double reserve, Tensor master, Tensor codebook)
    {
        using WideOperands wide = _wide;
        float* to = Operands.Floats(master), from = wide.Read(anchors), rounded = wide.Write(codebook);
        int n = (int)codebook.Shape[0], d = (int)codebook.Shape[1];
        for (int j = 0; j < n; j++)
        {
            float share = (float)Math.Exp((-10.0 * n * Operands.Floats(usage)[j] / (1 - decay)) - reserve);
            for (nint i = (nint)j * d; i < ((nint)j + 1) * d; i++)
            {
                to[i] = share == 0f ? to[i] : ((1f - share) * to[i]) + (share * from[i]);
                rounded[i] = to[i];
            }
        }
    }
}
