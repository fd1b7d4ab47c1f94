using MoeSharp.Core;

namespace MoeSharp.Reference;

/// <content>Dense ops.</content>
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    protected override void GemmCore(Tensor a, Tensor b, bool transposeA, bool transposeB, bool accumulate, Tensor c, int m, int n, int k)
    {
        Matrix left = Matrix(a), right = Matrix(b), result = Matrix(c);
        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < n; j++)
            {
                double sum = accumulate ? result[i, j] : 0;
                for (int l = 0; l < k; l++)
                {
                    sum += (transposeA ? left[l, i] : left[i, l]) * (transposeB ? right[j, l] : right[l, j]);
                }

                result[i, j] = sum;
            }
        }
    }

    /// <inheritdoc/>
    protected override void EmbeddingCore(Tensor table, Tensor ids, Tensor y)
    {
        Span<int> id = Ints(ids);
        CheckIds(id, table);
        for (int t = 0; t < id.Length; t++)
        {
            Matrix(table)[id[t]].CopyTo(Matrix(y)[t]);
        }
    }

    /// <inheritdoc/>
    protected override void EmbeddingBackwardCore(Tensor dY, Tensor ids, Tensor dTable)
    {
        Span<int> id = Ints(ids);
        CheckIds(id, dTable);
        for (int t = 0; t < id.Length; t++)
        {
            AddScaled(1, Matrix(dY)[t], Matrix(dTable)[id[t]]);
        }
    }

    /// <inheritdoc/>
    protected override void RmsNormCore(Tensor x, Tensor weight, double epsilon, Tensor y, Tensor inverseRms)
    {
        Matrix source = Matrix(x), result = Matrix(y);
        Span<double> w = Floats(weight), inverse = Floats(inverseRms);
        for (int t = 0; t < inverse.Length; t++)
        {
            // An empty row has mean square 0.
            double meanSquare = w.Length == 0 ? 0 : Dot(source[t], source[t]) / w.Length;
            inverse[t] = 1 / Math.Sqrt(meanSquare + epsilon);
            for (int i = 0; i < w.Length; i++)
            {
                result[t, i] = source[t, i] * inverse[t] * w[i];
            }
        }
    }

    /// <inheritdoc/>
    protected override void RmsNormBackwardCore(Tensor x, Tensor weight, Tensor inverseRms, Tensor dY, Tensor dX, Tensor dWeight)
    {
        Matrix source = Matrix(x), dOut = Matrix(dY), dSource = Matrix(dX);
        Span<double> w = Floats(weight), r = Floats(inverseRms), dW = Floats(dWeight);
        for (int t = 0; t < r.Length; t++)
        {
            // y_i = x_i r w_i and dr/dx_j = -r^3 x_j / d, so dX_j = r w_j dY_j - x_j r^3 / d * sum_i x_i w_i dY_i.
            double sum = 0;
            for (int i = 0; i < w.Length; i++)
            {
                sum += source[t, i] * w[i] * dOut[t, i];
            }

            for (int j = 0; j < w.Length; j++)
            {
                dSource[t, j] = (r[t] * w[j] * dOut[t, j]) - (source[t, j] * r[t] * r[t] * r[t] / w.Length * sum);
                dW[j] += dOut[t, j] * source[t, j] * r[t];
            }
        }
    }

    /// <inheritdoc/>
    protected override void RopeCore(Tensor x, Tensor positions, RopeSpec rope, bool inverse, Tensor y)
    {
        Matrix source = Matrix(x), result = Matrix(y);
        Span<int> position = Ints(positions);
        int half = rope.HeadDim / 2;
        for (int t = 0; t < position.Length; t++)
        {
            for (int head = 0; head < source.Columns; head += rope.HeadDim)
            {
                for (int i = 0; i < half; i++)
                {
                    double angle = position[t] * Math.Pow(rope.Theta, -2.0 * i / rope.HeadDim);
                    (double sin, double cos) = Math.SinCos(inverse ? -angle : angle);
                    int first = head + (rope.Interleaved ? 2 * i : i), second = head + (rope.Interleaved ? (2 * i) + 1 : i + half);
                    (double a, double b) = (source[t, first], source[t, second]);
                    result[t, first] = (a * cos) - (b * sin);
                    result[t, second] = (a * sin) + (b * cos);
                }
            }
        }
    }

    /// <inheritdoc/>
    protected override void AddCore(Tensor a, Tensor b, Tensor y)
    {
        for (int i = 0; i < y.ElementCount; i++)
        {
            Floats(y)[i] = Floats(a)[i] + Floats(b)[i];
        }
    }

    /// <inheritdoc/>
    protected override void AxpyCore(double alpha, Tensor x, Tensor y) => AddScaled(alpha, Floats(x), Floats(y));

    /// <inheritdoc/>
    protected override void ScaleCore(Tensor x, double alpha, Tensor y)
    {
        for (int i = 0; i < y.ElementCount; i++)
        {
            Floats(y)[i] = alpha * Floats(x)[i];
        }
    }

    /// <inheritdoc/>
    protected override void FillCore(Tensor y, double value) => Floats(y).Fill(value);

    /// <inheritdoc/>
    protected override void AddBiasCore(Tensor x, Tensor bias, Tensor y)
    {
        Matrix source = Matrix(x), result = Matrix(y);
        for (int t = 0; t < source.Rows; t++)
        {
            for (int i = 0; i < source.Columns; i++)
            {
                result[t, i] = source[t, i] + Floats(bias)[i];
            }
        }
    }

    /// <inheritdoc/>
    protected override void AddBiasBackwardCore(Tensor dY, Tensor dBias)
    {
        for (int t = 0; t < Matrix(dY).Rows; t++)
        {
            AddScaled(1, Matrix(dY)[t], Floats(dBias));
        }
    }

    /// <inheritdoc/>
    protected override void SwiGluCore(Tensor z, Tensor a)
    {
        for (int t = 0; t < Matrix(a).Rows; t++)
        {
            SwiGlu(Matrix(z)[t], Matrix(a)[t]);
        }
    }

    /// <inheritdoc/>
    protected override void SwiGluBackwardCore(Tensor z, Tensor dA, Tensor dZ)
    {
        for (int t = 0; t < Matrix(dA).Rows; t++)
        {
            SwiGluBackward(Matrix(z)[t], Matrix(dA)[t], Matrix(dZ)[t]);
        }
    }

    /// <inheritdoc/>
    protected override void SigmoidGateCore(Tensor x, Tensor gate, Tensor y)
    {
        Matrix source = Matrix(x), result = Matrix(y);
        for (int t = 0; t < source.Rows; t++)
        {
            for (int i = 0; i < source.Columns; i++)
            {
                result[t, i] = Sigmoid(Floats(gate)[t]) * source[t, i];
            }
        }
    }

    /// <inheritdoc/>
    protected override void SigmoidGateBackwardCore(Tensor x, Tensor gate, Tensor dY, Tensor dX, Tensor dGate)
    {
        for (int t = 0; t < gate.ElementCount; t++)
        {
            double s = Sigmoid(Floats(gate)[t]);
            Floats(dGate)[t] = s * (1 - s) * Dot(Matrix(dY)[t], Matrix(x)[t]);
            for (int i = 0; i < Matrix(x).Columns; i++)
            {
                Matrix(dX)[t, i] = s * Matrix(dY)[t, i];
            }
        }
    }

    /// <inheritdoc/>
    protected override void CrossEntropyCore(Tensor logits, Tensor targets, Tensor losses, Tensor logSumExp, Tensor mean)
    {
        Span<int> target = Ints(targets);
        CheckTargets(target, logits);
        double sum = 0;
        for (int t = 0; t < target.Length; t++)
        {
            Floats(logSumExp)[t] = LogSumExp(Matrix(logits)[t]);
            Floats(losses)[t] = target[t] < 0 ? 0 : Floats(logSumExp)[t] - Matrix(logits)[t, target[t]];
            sum += Floats(losses)[t];
        }

        Floats(mean)[0] = sum / Math.Max(1, CountTargets(target));
    }

    /// <inheritdoc/>
    protected override void CrossEntropyBackwardCore(Tensor logits, Tensor targets, Tensor logSumExp, Tensor dMean, Tensor dLogits)
    {
        Span<int> target = Ints(targets);
        CheckTargets(target, logits);
        double scale = Floats(dMean)[0] / Math.Max(1, CountTargets(target));
        for (int t = 0; t < target.Length; t++)
        {
            for (int v = 0; v < Matrix(logits).Columns; v++)
            {
                double oneHot = v == target[t] ? 1 : 0;
                double softmax = Math.Exp(Matrix(logits)[t, v] - Floats(logSumExp)[t]);
                Matrix(dLogits)[t, v] = target[t] < 0 ? 0 : scale * (softmax - oneHot);
            }
        }
    }

    /// <summary>a_i = silu(g_i) u_i with z = [g, u].</summary>
    private static void SwiGlu(ReadOnlySpan<double> z, Span<double> a)
    {
        for (int i = 0; i < a.Length; i++)
        {
            a[i] = z[i] * Sigmoid(z[i]) * z[a.Length + i];
        }
    }

    /// <summary>dG_i = dA_i u_i s (1 + g_i (1 - s)), dU_i = dA_i g_i s, s = sigmoid(g_i).</summary>
    private static void SwiGluBackward(ReadOnlySpan<double> z, ReadOnlySpan<double> dA, Span<double> dZ)
    {
        int n = dA.Length;
        for (int i = 0; i < n; i++)
        {
            (double g, double u, double s) = (z[i], z[n + i], Sigmoid(z[i]));
            dZ[i] = dA[i] * u * s * (1 + (g * (1 - s)));
            dZ[n + i] = dA[i] * g * s;
        }
    }

    /// <summary>log(sum of exp(x_i)), computed around the largest x_i.</summary>
    private static double LogSumExp(ReadOnlySpan<double> x)
    {
        double largest = double.NegativeInfinity, sum = 0;
        foreach (double value in x)
        {
            largest = Math.Max(largest, value);
        }

        foreach (double value in x)
        {
            sum += Math.Exp(value - largest);
        }

        return largest + Math.Log(sum);
    }

    private static int CountTargets(ReadOnlySpan<int> targets)
    {
        int count = 0;
        foreach (int target in targets)
        {
            count += target >= 0 ? 1 : 0;
        }

        return count;
    }

    private static void CheckIds(ReadOnlySpan<int> ids, Tensor table)
    {
        foreach (int id in ids)
        {
            Guard.That(id >= 0 && id < table.Shape[0], $"Token id {id} is not in 0..{table.Shape[0] - 1}.");
        }
    }

    private static void CheckTargets(ReadOnlySpan<int> targets, Tensor logits)
    {
        foreach (int target in targets)
        {
            Guard.That(target < logits.Shape[1], $"Target {target} is not below the vocabulary size {logits.Shape[1]}.");
        }
    }
}
