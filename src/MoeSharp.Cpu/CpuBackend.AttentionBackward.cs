using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <content>Attention backward; see <see cref="AttentionGradient"/> for the formulas and for who owns which sum.</content>
public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void AttentionBackwardCore(
        Tensor q, Tensor k, Tensor v, Tensor o, Tensor logSumExp, Tensor dO, AttentionSpec spec, Tensor dQ, Tensor dK, Tensor dV)
    {
        using WideOperands wide = _wide;
        var shape = new AttentionShape(spec);
        float* outputGradient = wide.Read(dO);
        int keyHeads = spec.Batch * spec.KeyValueHeads;
        HeadRows keys = shape.Rows(wide.Read(k), spec.KeyValueHeads, spec.KeyLength), values = shape.Rows(wide.Read(v), spec.KeyValueHeads, spec.KeyLength);
        HeadRows queries = shape.Rows(wide.Read(q), spec.Heads, spec.QueryLength), gradients = shape.Rows(outputGradient, spec.Heads, spec.QueryLength);
        var work = new AttentionGradient
        {
            Shape = shape,
            Queries = AttentionPacking.Padded(Parallel, Scratch, 3, shape, queries, spec.Heads, spec.QueryLength),
            Keys = AttentionPacking.Padded(Parallel, Scratch, 4, shape, keys, spec.KeyValueHeads, spec.KeyLength),
            OutputGradients = AttentionPacking.Padded(Parallel, Scratch, 5, shape, gradients, spec.Heads, spec.QueryLength),
            QueryGradients = shape.Rows(wide.Write(dQ), spec.Heads, spec.QueryLength),
            KeyGradients = shape.Rows(wide.Write(dK), spec.KeyValueHeads, spec.KeyLength),
            ValueGradients = shape.Rows(wide.Write(dV), spec.KeyValueHeads, spec.KeyLength),
            TransposedKeys = Scratch.Shared(0, AttentionPacking.TransposedLength(shape)),
            TransposedValues = Scratch.Shared(1, AttentionPacking.TransposedLength(shape)),
            LogSumExp = Operands.Floats(logSumExp),
            RowSums = OutputProducts(wide.Read(o), outputGradient, spec),
            Scratch = Scratch,
        };
        AttentionPacking.Transpose(Parallel, shape, keys, work.TransposedKeys);
        AttentionPacking.Transpose(Parallel, shape, values, work.TransposedValues);
        if (keyHeads >= 2 * Threads && shape.PaddedWidth == spec.HeadDim)
        {
            Parallel.For(keyHeads, work, static (w, index) => w.RunKeyHead(index));
        }
        else
        {
            Parallel.For(checked(spec.Batch * spec.Heads * shape.QueryTiles), work, static (w, index) => w.RunQueryTile(index));
            Parallel.For(checked(keyHeads * shape.KeyTiles), work, static (w, index) => w.RunKeyTile(index));
        }
    }

    /// <summary>Per row and head: the product of output and output gradient.</summary>
    private float* OutputProducts(float* output, float* gradient, AttentionSpec spec)
    {
        var work = new Operands
        {
            A = output, B = gradient, Rows = checked(spec.Batch * spec.QueryLength * spec.Heads), Width = spec.HeadDim,
            Step = RowsPerChunk(spec.HeadDim),
        };
        work.Partials = Scratch.Shared(2, work.Rows);
        Parallel.For(work.Chunks, work, static (w, chunk) =>
        {
            for (nint row = (nint)chunk * w.Step; row < w.End(chunk); row++)
            {
                w.Partials[row] = VectorMath.Dot(w.A + (row * w.Width), w.B + (row * w.Width), w.Width);
            }
        });
        return work.Partials;
    }
}
