using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <content>Dense operations. Each method checks nothing that the backend's op checks.</content>
public sealed partial class Tape
{
    /// <summary>y = x W^T + b.</summary>
    /// <param name="x">[T, in].</param>
    /// <param name="weight">[out, in].</param>
    /// <param name="bias">[out], or none.</param>
    /// <returns>[T, out].</returns>
    public Variable Linear(Variable x, Parameter weight, Parameter? bias = null)
    {
        Tensor y = Float(x.Shape[0], weight.Value.Shape[0]);
        Backend.Gemm(x.Value, weight.Value, transposeA: false, transposeB: true, accumulate: false, y);
        if (bias is not null)
        {
            Backend.AddBias(y, bias.Value, y);
        }

        return Record(TapeOp.Linear, y, [x], [weight, bias], []);
    }

    /// <summary>Rows of a table.</summary>
    /// <param name="table">[V, d].</param>
    /// <param name="ids">Int32 [T], borrowed until backward.</param>
    /// <returns>[T, d].</returns>
    public Variable Embedding(Parameter table, Tensor ids)
    {
        Tensor y = Float(ids.ElementCount, table.Value.Shape[1]);
        Backend.Embedding(table.Value, ids, y);
        return Record(TapeOp.Embedding, y, [], [table], [], ids);
    }

    /// <summary>y = x / rms(x) * weight, over the last dimension (arXiv 1910.07467).</summary>
    /// <param name="x">[T, d].</param>
    /// <param name="weight">[d].</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <returns>[T, d].</returns>
    public Variable RmsNorm(Variable x, Parameter weight, double epsilon)
    {
        Tensor y = RentLike(x.Value), inverseRms = Wide(x.Shape[0]);
        Backend.RmsNorm(x.Value, weight.Value, epsilon, y, inverseRms);
        return Record(TapeOp.RmsNorm, y, [x], [weight], [inverseRms]);
    }

    /// <summary>y = x / rms(x), over the last dimension.</summary>
    /// <param name="x">[T, d].</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <returns>[T, d].</returns>
    public Variable Normalize(Variable x, double epsilon)
    {
        Tensor y = RentLike(x.Value), inverseRms = Wide(x.Shape[0]), ones = Float(x.Shape[1]);
        Backend.Fill(ones, 1);
        Backend.RmsNorm(x.Value, ones, epsilon, y, inverseRms);
        return Record(TapeOp.Normalize, y, [x], [], [inverseRms, ones]);
    }

    /// <summary>a b^T, both of them values.</summary>
    /// <param name="a">[M, K].</param>
    /// <param name="b">[N, K].</param>
    /// <returns>[M, N].</returns>
    public Variable Product(Variable a, Variable b)
    {
        Tensor y = Float(a.Shape[0], b.Shape[0]);
        Backend.Gemm(a.Value, b.Value, transposeA: false, transposeB: true, accumulate: false, y);
        return Record(TapeOp.Product, y, [a, b], [], []);
    }

    /// <summary>A parameter as a value, for ops that take values; no copy.</summary>
    public Variable Use(Parameter parameter) =>
        Record(TapeOp.Use, Share(parameter.Value, [.. parameter.Value.Shape]), [], [parameter], []);

    /// <summary>Rotates every head by its position (arXiv 2104.09864).</summary>
    /// <param name="x">[T, H * HeadDim].</param>
    /// <param name="positions">Int32 [T], borrowed until backward.</param>
    /// <param name="rope">Frequencies and pairing.</param>
    /// <returns>[T, H * HeadDim].</returns>
    public Variable Rope(Variable x, Tensor positions, RopeSpec rope)
    {
        Tensor y = RentLike(x.Value);
        Backend.Rope(x.Value, positions, rope, inverse: false, y);
        return Record(TapeOp.Rope, y, [x], [], [], (positions, rope));
    }

    /// <summary>softmax(scale q k^T, causal) v per head.</summary>
    /// <param name="q">[B * QueryLength, H * HeadDim].</param>
    /// <param name="k">[B * KeyStride, Hkv * HeadDim].</param>
    /// <param name="v">[B * KeyStride, Hkv * HeadDim].</param>
    /// <param name="spec">Lengths, heads, scale. With a cache (KeyStride above KeyLength) there is no backward.</param>
    /// <returns>[B * QueryLength, H * HeadDim].</returns>
    public Variable Attention(Variable q, Variable k, Variable v, AttentionSpec spec)
    {
        Tensor o = RentLike(q.Value), logSumExp = Wide(q.Shape[0], spec.Heads);
        Backend.Attention(q.Value, k.Value, v.Value, spec, o, logSumExp);
        return Record(TapeOp.Attention, o, [q, k, v], [], [logSumExp], spec);
    }

    /// <summary>silu(gate) * up (arXiv 2002.05202).</summary>
    /// <param name="z">[T, 2n]: gate columns, then up columns.</param>
    /// <returns>[T, n].</returns>
    public Variable SwiGlu(Variable z)
    {
        Tensor a = Float(z.Shape[0], z.Shape[1] / 2);
        Backend.SwiGlu(z.Value, a);
        return Record(TapeOp.SwiGlu, a, [z], [], []);
    }

    /// <summary>a + b, of equal shapes.</summary>
    public Variable Add(Variable a, Variable b)
    {
        Guard.That(a.Shape == b.Shape, $"Add takes equal shapes, got {a.Shape} and {b.Shape}.");
        Tensor y = RentLike(a.Value);
        Backend.Add(a.Value, b.Value, y);
        return Record(TapeOp.Add, y, [a, b], [], []);
    }

    /// <summary>alpha * x.</summary>
    public Variable Scale(Variable x, double alpha)
    {
        Tensor y = RentLike(x.Value);
        Backend.Scale(x.Value, alpha, y);
        return Record(TapeOp.Scale, y, [x], [], [], alpha);
    }

    /// <summary>sigmoid(gate[t]) * x[t].</summary>
    /// <param name="x">[T, d].</param>
    /// <param name="gate">[T, 1] logits.</param>
    /// <returns>[T, d].</returns>
    public Variable SigmoidGate(Variable x, Variable gate)
    {
        Tensor y = RentLike(x.Value);
        Backend.SigmoidGate(x.Value, gate.Value, y);
        return Record(TapeOp.SigmoidGate, y, [x, gate], [], []);
    }

    /// <summary>The same elements in another shape; no copy.</summary>
    /// <exception cref="ArgumentException">The sizes differ.</exception>
    public Variable Reshape(Variable x, params ReadOnlySpan<long> shape) =>
        Record(TapeOp.Reshape, Share(x.Value, shape), [x], [], []);

    /// <summary>Mean cross-entropy, natural logarithm, over the targets that are not negative.</summary>
    /// <param name="logits">[T, V].</param>
    /// <param name="targets">Int32 [T], borrowed until backward.</param>
    /// <param name="losses">[T], 0 where ignored; valid until <see cref="Reset"/>.</param>
    /// <returns>[1].</returns>
    public Variable CrossEntropy(Variable logits, Tensor targets, out Tensor losses)
    {
        Tensor mean = Wide(1), logSumExp = Wide(logits.Shape[0]);
        losses = Wide(logits.Shape[0]);
        Backend.CrossEntropy(logits.Value, targets, losses, logSumExp, mean);
        return Record(TapeOp.CrossEntropy, mean, [logits], [], [logSumExp], targets);
    }

    private Tensor Float(params ReadOnlySpan<long> shape) => _pool.Rent(Backend.FloatType, shape);

    private Tensor Wide(params ReadOnlySpan<long> shape) => _pool.Rent(Backend.WideType, shape);
}
