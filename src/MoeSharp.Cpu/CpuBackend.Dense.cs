using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <content>
/// Embedding, RMS norm and rotary embedding. Rows are independent and split in chunks of about <see cref="ElementsPerChunk"/> elements.
/// What sums over rows is either cut by columns (embedding gradient: tokens stay in order) or summed per fixed chunk of
/// <see cref="TokenChunk"/> rows whose partial sums are added in chunk order.
/// </content>
public sealed unsafe partial class CpuBackend
{
    /// <summary>Rows per partial sum: a constant, because it decides the bits of every sum over tokens.</summary>
    internal const int TokenChunk = 64;

    /// <summary>Elements per chunk of row-wise and flat ops: some microseconds of work. Does not decide any bits.</summary>
    private const int ElementsPerChunk = 1 << 14;

    private const int ColumnsPerChunk = 64;
    private readonly Dictionary<RopeSpec, RopeTable> _ropeTables = [];

    private OpScratch Scratch => field ??= new OpScratch(Threads);

    /// <inheritdoc/>
    protected override void EmbeddingCore(Tensor table, Tensor ids, Tensor y)
    {
        CheckIds(ids, table.Shape[0]);
        int rowBytes = (int)table.Shape[1] * table.DType.Size();
        var work = new Operands
        {
            A = (float*)table.Pointer, C = (float*)y.Pointer, Ids = Operands.Ints(ids),
            Rows = (int)ids.ElementCount, Width = rowBytes, Step = RowsPerChunk(table.Shape[1]),
        };
        Parallel.For(work.Chunks, work, static (w, chunk) =>
        {
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                Buffer.MemoryCopy((byte*)w.A + ((nint)w.Ids[t] * w.Width), (byte*)w.C + ((nint)t * w.Width), w.Width, w.Width);
            }
        });
    }

    /// <inheritdoc/>
    protected override void EmbeddingBackwardCore(Tensor dY, Tensor ids, Tensor dTable)
    {
        using WideOperands wide = _wide;
        CheckIds(ids, dTable.Shape[0]);
        var work = new Operands
        {
            A = wide.Read(dY), C = Operands.Floats(dTable), Ids = Operands.Ints(ids),
            Rows = (int)ids.ElementCount, Width = (int)dTable.Shape[1],
        };
        Parallel.For((work.Width + ColumnsPerChunk - 1) / ColumnsPerChunk, work, static (w, chunk) =>
        {
            int first = chunk * ColumnsPerChunk, columns = Math.Min(ColumnsPerChunk, w.Width - first);
            for (int t = 0; t < w.Rows; t++)
            {
                VectorMath.AddTo(w.A + ((nint)t * w.Width) + first, w.C + ((nint)w.Ids[t] * w.Width) + first, columns);
            }
        });
    }

    /// <inheritdoc/>
    protected override void RmsNormCore(Tensor x, Tensor weight, double epsilon, Tensor y, Tensor inverseRms)
    {
        using WideOperands wide = _wide;
        var work = new Operands
        {
            A = wide.Read(x), B = wide.Read(weight), C = wide.Write(y), D = Operands.Floats(inverseRms),
            Rows = (int)x.Shape[0], Width = (int)x.Shape[1], Step = RowsPerChunk(x.Shape[1]), Scalar = (float)epsilon,
        };
        Parallel.For(work.Chunks, work, static (w, chunk) =>
        {
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                float* x = w.A + ((nint)t * w.Width);
                float inverse = 1f / MathF.Sqrt((VectorMath.Dot(x, x, w.Width) / w.Width) + w.Scalar);
                w.D[t] = inverse;
                NormalizeRow(x, w.B, inverse, w.C + ((nint)t * w.Width), w.Width);
            }
        });
    }

    /// <inheritdoc/>
    protected override void RmsNormBackwardCore(Tensor x, Tensor weight, Tensor inverseRms, Tensor dY, Tensor dX, Tensor dWeight)
    {
        using WideOperands wide = _wide;
        var work = new Operands
        {
            A = wide.Read(x), B = wide.Read(weight), C = Operands.Floats(inverseRms), D = wide.Read(dY),
            E = wide.Write(dX), Rows = (int)x.Shape[0], Width = (int)x.Shape[1], Step = TokenChunk,
        };
        work.Partials = Scratch.Shared(0, (long)work.Chunks * work.Width);
        Parallel.For(work.Chunks, work, static (w, chunk) =>
        {
            float* partial = w.Partials + ((nint)chunk * w.Width);
            Clear(partial, w.Width);
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                nint row = (nint)t * w.Width;
                NormalizeRowBackward(w.A + row, w.B, w.C[t], w.D + row, w.E + row, partial, w.Width);
            }
        });
        AddPartials(work.Partials, work.Chunks, work.Width, Operands.Floats(dWeight));
    }

    /// <inheritdoc/>
    protected override void RopeCore(Tensor x, Tensor positions, RopeSpec rope, bool inverse, Tensor y)
    {
        using WideOperands wide = _wide;
        if (!_ropeTables.TryGetValue(rope, out RopeTable? table))
        {
            _ropeTables[rope] = table = new RopeTable(rope);
        }

        int rows = (int)x.Shape[0], width = (int)x.Shape[1], highest = -1;
        int* position = Operands.Ints(positions);
        for (int t = 0; t < rows; t++)
        {
            highest = Math.Max(highest, position[t]);
        }

        table.Reserve(highest);
        var work = new Operands
        {
            A = wide.Read(x), C = wide.Write(y), Ids = position, Rows = rows, Width = width,
            Step = RowsPerChunk(width), Scalar = inverse ? -1f : 1f,
        };
        Parallel.For(work.Chunks, (Work: work, Table: table, Rope: rope, Scratch), static (state, chunk) =>
        {
            Operands w = state.Work;
            int headDim = state.Rope.HeadDim;
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                float* turns;
                if ((uint)w.Ids[t] < (uint)state.Table.Positions)
                {
                    turns = state.Table.Pointer + ((nint)w.Ids[t] * state.Table.RowLength);
                }
                else
                {
                    turns = state.Scratch.Thread(state.Table.RowLength);
                    state.Table.Write(w.Ids[t], turns);
                }

                for (int head = 0; head < w.Width; head += headDim)
                {
                    nint offset = ((nint)t * w.Width) + head;
                    if (state.Rope.Interleaved)
                    {
                        TurnNeighbours(w.A + offset, turns, w.Scalar, w.C + offset, headDim);
                    }
                    else
                    {
                        TurnHalves(w.A + offset, turns, w.Scalar, w.C + offset, headDim);
                    }
                }
            }
        });
    }

    private static int RowsPerChunk(long width) => (int)Math.Max(1, ElementsPerChunk / Math.Max(1, width));

    private static void Clear(float* destination, int count) => new Span<float>(destination, count).Clear();

    private static void CheckIds(Tensor ids, long rows)
    {
        int* id = Operands.Ints(ids);
        for (long t = 0; t < ids.ElementCount; t++)
        {
            if ((uint)id[t] >= (ulong)rows)
            {
                throw new ArgumentOutOfRangeException(
                    nameof(ids), id[t], $"Token id {id[t]} at position {t} is not a row of the table, whose ids are 0..{rows - 1}.");
            }
        }
    }

    private static void NormalizeRow(float* x, float* weight, float inverse, float* y, int n)
    {
        Vector256<float> factor = Vector256.Create(inverse);
        int i = 0;
        for (; i <= n - VectorMath.Lanes; i += VectorMath.Lanes)
        {
            (Vector256.Load(x + i) * factor * Vector256.Load(weight + i)).Store(y + i);
        }

        for (; i < n; i++)
        {
            y[i] = x[i] * inverse * weight[i];
        }
    }

    /// <summary>dX = r (w dY - x r^2 mean(w dY x)), dWeight += dY x r, with r = 1/rms.</summary>
    private static void NormalizeRowBackward(float* x, float* weight, float inverse, float* dY, float* dX, float* dWeight, int n)
    {
        Vector256<float> sum = default;
        for (int i = 0; i < n; i += VectorMath.Lanes)
        {
            int rest = n - i;
            sum = Vector256.FusedMultiplyAdd(VectorMath.Load(x + i, rest), VectorMath.Load(weight + i, rest) * VectorMath.Load(dY + i, rest), sum);
        }

        Vector256<float> slope = Vector256.Create(-VectorMath.SumLanes(sum) * inverse * inverse / n);
        Vector256<float> factor = Vector256.Create(inverse);
        for (int i = 0; i < n; i += VectorMath.Lanes)
        {
            int rest = n - i;
            Vector256<float> value = VectorMath.Load(x + i, rest), gradient = VectorMath.Load(dY + i, rest);
            VectorMath.Store(Vector256.FusedMultiplyAdd(value, slope, VectorMath.Load(weight + i, rest) * gradient) * factor, dX + i, rest);
            VectorMath.Store(Vector256.FusedMultiplyAdd(gradient, value * factor, VectorMath.Load(dWeight + i, rest)), dWeight + i, rest);
        }
    }

    private static void TurnHalves(float* x, float* turns, float sign, float* y, int headDim)
    {
        int half = headDim / 2;
        Vector256<float> direction = Vector256.Create(sign);
        for (int i = 0; i < half; i += VectorMath.Lanes)
        {
            int rest = half - i;
            Vector256<float> low = VectorMath.Load(x + i, rest), high = VectorMath.Load(x + half + i, rest), cosine = VectorMath.Load(turns + i, rest);
            Vector256<float> toLow = direction * VectorMath.Load(turns + headDim + i, rest), toHigh = direction * VectorMath.Load(turns + headDim + half + i, rest);
            VectorMath.Store(Vector256.FusedMultiplyAdd(low, cosine, high * toLow), y + i, rest);
            VectorMath.Store(Vector256.FusedMultiplyAdd(high, cosine, low * toHigh), y + half + i, rest);
        }
    }

    private static void TurnNeighbours(float* x, float* turns, float sign, float* y, int headDim)
    {
        Vector256<float> direction = Vector256.Create(sign);
        for (int i = 0; i < headDim; i += VectorMath.Lanes)
        {
            int rest = headDim - i;
            Vector256<float> value = VectorMath.Load(x + i, rest);
            Vector256<float> partner = Vector256.Shuffle(value, Vector256.Create(1, 0, 3, 2, 5, 4, 7, 6));
            Vector256<float> toPartner = direction * VectorMath.Load(turns + headDim + i, rest);
            VectorMath.Store(Vector256.FusedMultiplyAdd(value, VectorMath.Load(turns + i, rest), partner * toPartner), y + i, rest);
        }
    }

    /// <summary>destination += the sum of the chunks' rows, chunks in order, columns in parallel.</summary>
    private void AddPartials(float* partials, int chunks, int width, float* destination)
    {
        var work = new Operands { Partials = partials, Rows = chunks, Width = width, A = destination };
        Parallel.For((width + ColumnsPerChunk - 1) / ColumnsPerChunk, work, static (w, block) =>
        {
            int end = Math.Min(w.Width, (block + 1) * ColumnsPerChunk);
            for (int i = block * ColumnsPerChunk; i < end; i += VectorMath.Lanes)
            {
                Vector256<float> sum = default;
                for (int chunk = 0; chunk < w.Rows; chunk++)
                {
                    sum += VectorMath.Load(w.Partials + ((nint)chunk * w.Width) + i, end - i);
                }

                VectorMath.Store(VectorMath.Load(w.A + i, end - i) + sum, w.A + i, end - i);
            }
        });
    }
}
