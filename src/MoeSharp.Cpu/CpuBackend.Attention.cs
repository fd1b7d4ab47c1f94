using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <content>
/// Attention forward: keys are transposed into tiles once, then every (sequence, head, tile of queries) is one piece of work. Memory
/// beyond the operands: a copy of the keys and, per thread, one tile.
/// </content>
public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void AttentionCore(Tensor q, Tensor k, Tensor v, AttentionSpec spec, Tensor o, Tensor logSumExp)
    {
        using WideOperands wide = _wide;
        var shape = new AttentionShape(spec);

        // Of a cache, only the keys that there are.
        long cached = (long)spec.KeyLength * spec.KeyValueHeads * spec.HeadDim;
        float* keys = Scratch.Shared(0, AttentionPacking.TransposedLength(shape));
        AttentionPacking.Transpose(Parallel, shape, shape.Rows(wide.Read(k, spec.Batch, cached), spec.KeyValueHeads, spec.KeyStride), keys);
        HeadRows values = shape.Rows(wide.Read(v, spec.Batch, cached), spec.KeyValueHeads, spec.KeyStride);
        var work = new AttentionTile
        {
            Shape = shape, Queries = shape.Rows(wide.Read(q), spec.Heads, spec.QueryLength), Keys = keys,
            Values = AttentionPacking.Padded(Parallel, Scratch, 1, shape, values, spec.KeyValueHeads, spec.KeyLength),
            Output = shape.Rows(wide.Write(o), spec.Heads, spec.QueryLength), LogSumExp = Operands.Floats(logSumExp), Scratch = Scratch,
        };
        Parallel.For(checked(spec.Batch * spec.Heads * shape.QueryTiles), work, static (w, index) => w.Run(index));
    }
}
