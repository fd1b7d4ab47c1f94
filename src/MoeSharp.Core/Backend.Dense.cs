namespace MoeSharp.Core;

/// <content>Dense ops: GEMM, embedding, norms, rotary embedding, element-wise, cross-entropy.</content>
public abstract partial class Backend
{
    /// <summary>C = op(A) op(B), or C += op(A) op(B). Linear: Y = X W^T, dX = dY W, dW += dY^T X.</summary>
    /// <param name="a">[M, K], or [K, M] when <paramref name="transposeA"/>.</param>
    /// <param name="b">[K, N], or [N, K] when <paramref name="transposeB"/>.</param>
    /// <param name="transposeA">Read A transposed.</param>
    /// <param name="transposeB">Read B transposed.</param>
    /// <param name="accumulate">Add to C.</param>
    /// <param name="c">[M, N]; float or wide (gradients of weights are wide).</param>
    public void Gemm(Tensor a, Tensor b, bool transposeA, bool transposeB, bool accumulate, Tensor c)
    {
        int m = Size(c, 0, 2), n = Size(c, 1, 2), k = Size(a, transposeA ? 0 : 1, 2);
        Rows(a, transposeA ? k : m, transposeA ? m : k);
        Rows(b, transposeB ? n : k, transposeB ? k : n);
        Guard.Is(c, c.DType == WideType ? WideType : FloatType, [m, n]);
        Distinct(c, a, b);
        GemmCore(a, b, transposeA, transposeB, accumulate, c, m, n, k);
    }

    /// <summary>y[t] = table[ids[t]].</summary>
    /// <param name="table">[V, d].</param>
    /// <param name="ids">Int32 [T], each in 0..V-1 (a backend on the host checks; others clamp).</param>
    /// <param name="y">[T, d].</param>
    public void Embedding(Tensor table, Tensor ids, Tensor y)
    {
        int t = Size(ids, 0, 1), d = Size(table, 1, 2);
        Guard.Is(ids, DType.Int32, [t]);
        Rows(table, table.Shape[0], d);
        Rows(y, t, d);
        EmbeddingCore(table, ids, y);
    }

    /// <summary>dTable[ids[t]] += dY[t], tokens in ascending order: deterministic.</summary>
    /// <param name="dY">[T, d].</param>
    /// <param name="ids">Int32 [T].</param>
    /// <param name="dTable">Wide [V, d], accumulated.</param>
    public void EmbeddingBackward(Tensor dY, Tensor ids, Tensor dTable)
    {
        int t = Size(ids, 0, 1), d = Size(dTable, 1, 2);
        Guard.Is(ids, DType.Int32, [t]);
        Rows(dY, t, d);
        Wide(dTable, dTable.Shape[0], d);
        EmbeddingBackwardCore(dY, ids, dTable);
    }

    /// <summary>y = x / rms(x) * weight, rms(x) = sqrt(mean(x^2) + epsilon), per row (Zhang and Sennrich, arXiv 1910.07467).</summary>
    /// <param name="x">[T, d].</param>
    /// <param name="weight">[d].</param>
    /// <param name="epsilon">Added to the mean square.</param>
    /// <param name="y">[T, d].</param>
    /// <param name="inverseRms">Wide [T], 1/rms, kept for backward.</param>
    public void RmsNorm(Tensor x, Tensor weight, double epsilon, Tensor y, Tensor inverseRms)
    {
        int t = Size(x, 0, 2), d = Size(x, 1, 2);
        Rows(x, t, d);
        Is(weight, d);
        Rows(y, t, d);
        Wide(inverseRms, t);
        RmsNormCore(x, weight, epsilon, y, inverseRms);
    }

    /// <summary>Gradient of <see cref="RmsNorm"/>.</summary>
    /// <param name="x">[T, d].</param>
    /// <param name="weight">[d].</param>
    /// <param name="inverseRms">Wide [T] from forward.</param>
    /// <param name="dY">[T, d].</param>
    /// <param name="dX">[T, d].</param>
    /// <param name="dWeight">Wide [d], accumulated.</param>
    public void RmsNormBackward(Tensor x, Tensor weight, Tensor inverseRms, Tensor dY, Tensor dX, Tensor dWeight)
    {
        int t = Size(x, 0, 2), d = Size(x, 1, 2);
        Rows(x, t, d);
        Is(weight, d);
        Wide(inverseRms, t);
        Rows(dY, t, d);
        Rows(dX, t, d);
        Wide(dWeight, d);
        Distinct(dX, x, dY);
        RmsNormBackwardCore(x, weight, inverseRms, dY, dX, dWeight);
    }

    /// <summary>Rotates every head of every row by its position; the inverse is its gradient. y may be x.</summary>
    /// <param name="x">[T, H * HeadDim].</param>
    /// <param name="positions">Int32 [T].</param>
    /// <param name="rope">Frequencies and pairing.</param>
    /// <param name="inverse">Rotate back (backward pass).</param>
    /// <param name="y">[T, H * HeadDim].</param>
    public void Rope(Tensor x, Tensor positions, RopeSpec rope, bool inverse, Tensor y)
    {
        int t = Size(x, 0, 2), w = Size(x, 1, 2);
        Guard.That(rope.HeadDim > 0 && rope.HeadDim % 2 == 0 && w % rope.HeadDim == 0, $"RoPE needs an even head width that divides {w}, got {rope.HeadDim}.");
        Rows(x, t, w);
        Guard.Is(positions, DType.Int32, [t]);
        Rows(y, t, w);
        RopeCore(x, positions, rope, inverse, y);
    }

    /// <summary>y = a + b, element by element, all of one dtype: float or wide. y may be a or b.</summary>
    public void Add(Tensor a, Tensor b, Tensor y)
    {
        SameFloats(a, b);
        SameFloats(a, y);
        AddCore(a, b, y);
    }

    /// <summary>y += alpha * x, both float or both wide.</summary>
    public void Axpy(double alpha, Tensor x, Tensor y)
    {
        SameFloats(x, y);
        AxpyCore(alpha, x, y);
    }

    /// <summary>y = alpha * x, both float or both wide. y may be x.</summary>
    public void Scale(Tensor x, double alpha, Tensor y)
    {
        SameFloats(x, y);
        ScaleCore(x, alpha, y);
    }

    /// <summary>Writes one value everywhere. y is a float or wide tensor of any shape.</summary>
    public void Fill(Tensor y, double value)
    {
        Guard.Holds(y, y.DType == WideType ? WideType : FloatType, 0);
        FillCore(y, value);
    }

    /// <summary>y[t] = x[t] + bias.</summary>
    /// <param name="x">[T, n].</param>
    /// <param name="bias">[n].</param>
    /// <param name="y">[T, n]; may be x.</param>
    public void AddBias(Tensor x, Tensor bias, Tensor y)
    {
        int t = Size(x, 0, 2), n = Size(x, 1, 2);
        Rows(x, t, n);
        Is(bias, n);
        Rows(y, t, n);
        AddBiasCore(x, bias, y);
    }

    /// <summary>dBias += sum over rows of dY, in a fixed order.</summary>
    /// <param name="dY">[T, n].</param>
    /// <param name="dBias">Wide [n], accumulated.</param>
    public void AddBiasBackward(Tensor dY, Tensor dBias)
    {
        int t = Size(dY, 0, 2), n = Size(dY, 1, 2);
        Rows(dY, t, n);
        Wide(dBias, n);
        AddBiasBackwardCore(dY, dBias);
    }

    /// <summary>a = silu(gate) * up, silu(g) = g / (1 + exp(-g)) (Shazeer, arXiv 2002.05202).</summary>
    /// <param name="z">[T, 2n]: gate columns, then up columns.</param>
    /// <param name="a">[T, n].</param>
    public void SwiGlu(Tensor z, Tensor a)
    {
        int t = Size(a, 0, 2), n = Size(a, 1, 2);
        Rows(z, t, 2L * n);
        Rows(a, t, n);
        SwiGluCore(z, a);
    }

    /// <summary>Gradient of <see cref="SwiGlu"/>.</summary>
    /// <param name="z">[T, 2n].</param>
    /// <param name="dA">[T, n].</param>
    /// <param name="dZ">[T, 2n].</param>
    public void SwiGluBackward(Tensor z, Tensor dA, Tensor dZ)
    {
        int t = Size(dA, 0, 2), n = Size(dA, 1, 2);
        Rows(z, t, 2L * n);
        Rows(dA, t, n);
        Rows(dZ, t, 2L * n);
        SwiGluBackwardCore(z, dA, dZ);
    }

    /// <summary>y[t] = sigmoid(gate[t]) * x[t] (shared-expert gate of Qwen2-MoE).</summary>
    /// <param name="x">[T, d].</param>
    /// <param name="gate">[T, 1] logits.</param>
    /// <param name="y">[T, d].</param>
    public void SigmoidGate(Tensor x, Tensor gate, Tensor y)
    {
        int t = Size(x, 0, 2), d = Size(x, 1, 2);
        Rows(x, t, d);
        Rows(gate, t, 1);
        Rows(y, t, d);
        SigmoidGateCore(x, gate, y);
    }

    /// <summary>Gradient of <see cref="SigmoidGate"/>.</summary>
    /// <param name="x">[T, d].</param>
    /// <param name="gate">[T, 1].</param>
    /// <param name="dY">[T, d].</param>
    /// <param name="dX">[T, d].</param>
    /// <param name="dGate">[T, 1].</param>
    public void SigmoidGateBackward(Tensor x, Tensor gate, Tensor dY, Tensor dX, Tensor dGate)
    {
        int t = Size(x, 0, 2), d = Size(x, 1, 2);
        Rows(x, t, d);
        Rows(gate, t, 1);
        Rows(dY, t, d);
        Rows(dX, t, d);
        Rows(dGate, t, 1);
        SigmoidGateBackwardCore(x, gate, dY, dX, dGate);
    }

    /// <summary>Cross-entropy of next-token targets, natural logarithm. A negative target is ignored.</summary>
    /// <param name="logits">[T, V].</param>
    /// <param name="targets">Int32 [T], &lt; V.</param>
    /// <param name="losses">Wide [T]: logsumexp - logit[target]; 0 where ignored.</param>
    /// <param name="logSumExp">Wide [T], kept for backward.</param>
    /// <param name="mean">Wide [1]: mean over targets that count; 0 when none do.</param>
    public void CrossEntropy(Tensor logits, Tensor targets, Tensor losses, Tensor logSumExp, Tensor mean)
    {
        int t = Size(logits, 0, 2), v = Size(logits, 1, 2);
        Rows(logits, t, v);
        Guard.Is(targets, DType.Int32, [t]);
        Wide(losses, t);
        Wide(logSumExp, t);
        Wide(mean, 1);
        CrossEntropyCore(logits, targets, losses, logSumExp, mean);
    }

    /// <summary>Gradient of the mean of <see cref="CrossEntropy"/>: dMean / count * (softmax - onehot).</summary>
    /// <param name="logits">[T, V].</param>
    /// <param name="targets">Int32 [T].</param>
    /// <param name="logSumExp">Wide [T].</param>
    /// <param name="dMean">Wide [1].</param>
    /// <param name="dLogits">[T, V]; may be logits.</param>
    public void CrossEntropyBackward(Tensor logits, Tensor targets, Tensor logSumExp, Tensor dMean, Tensor dLogits)
    {
        int t = Size(logits, 0, 2), v = Size(logits, 1, 2);
        Rows(logits, t, v);
        Guard.Is(targets, DType.Int32, [t]);
        Wide(logSumExp, t);
        Wide(dMean, 1);
        Rows(dLogits, t, v);
        CrossEntropyBackwardCore(logits, targets, logSumExp, dMean, dLogits);
    }

#pragma warning disable CS1591 // The Core twins mean what their public methods document.
    protected abstract void GemmCore(Tensor a, Tensor b, bool transposeA, bool transposeB, bool accumulate, Tensor c, int m, int n, int k);

    protected abstract void EmbeddingCore(Tensor table, Tensor ids, Tensor y);

    protected abstract void EmbeddingBackwardCore(Tensor dY, Tensor ids, Tensor dTable);

    protected abstract void RmsNormCore(Tensor x, Tensor weight, double epsilon, Tensor y, Tensor inverseRms);

    protected abstract void RmsNormBackwardCore(Tensor x, Tensor weight, Tensor inverseRms, Tensor dY, Tensor dX, Tensor dWeight);

    protected abstract void RopeCore(Tensor x, Tensor positions, RopeSpec rope, bool inverse, Tensor y);

    protected abstract void AddCore(Tensor a, Tensor b, Tensor y);

    protected abstract void AxpyCore(double alpha, Tensor x, Tensor y);

    protected abstract void ScaleCore(Tensor x, double alpha, Tensor y);

    protected abstract void FillCore(Tensor y, double value);

    protected abstract void AddBiasCore(Tensor x, Tensor bias, Tensor y);

    protected abstract void AddBiasBackwardCore(Tensor dY, Tensor dBias);

    protected abstract void SwiGluCore(Tensor z, Tensor a);

    protected abstract void SwiGluBackwardCore(Tensor z, Tensor dA, Tensor dZ);

    protected abstract void SigmoidGateCore(Tensor x, Tensor gate, Tensor y);

    protected abstract void SigmoidGateBackwardCore(Tensor x, Tensor gate, Tensor dY, Tensor dX, Tensor dGate);

    protected abstract void CrossEntropyCore(Tensor logits, Tensor targets, Tensor losses, Tensor logSumExp, Tensor mean);

    protected abstract void CrossEntropyBackwardCore(Tensor logits, Tensor targets, Tensor logSumExp, Tensor dMean, Tensor dLogits);
#pragma warning restore CS1591
}
