using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <content>
/// Cross-entropy, fused: forward reads the logits twice (maximum, sum of exponentials) and writes T numbers; backward is one pass. The
/// mean is summed in double over tokens in ascending order by one thread: T additions, against T V exponentials.
/// </content>
public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void CrossEntropyCore(Tensor logits, Tensor targets, Tensor losses, Tensor logSumExp, Tensor mean)
    {
        using WideOperands wide = _wide;
        int counted = CheckTargets(targets, logits.Shape[1]);
        var work = new Operands
        {
            A = wide.Read(logits), C = Operands.Floats(losses), D = Operands.Floats(logSumExp), Ids = Operands.Ints(targets),
            Rows = (int)logits.Shape[0], Width = (int)logits.Shape[1], Step = RowsPerChunk(logits.Shape[1]),
        };
        Parallel.For(work.Chunks, work, static (w, chunk) =>
        {
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                float* row = w.A + ((nint)t * w.Width);
                float largest = VectorMath.Max(row, w.Width);
                float logSumExp = largest + MathF.Log(VectorMath.SumExp(row, w.Width, largest));
                w.D[t] = logSumExp;
                w.C[t] = w.Ids[t] < 0 ? 0f : logSumExp - row[w.Ids[t]];
            }
        });
        double sum = 0;
        for (int t = 0; t < work.Rows; t++)
        {
            sum += work.C[t];
        }

        *Operands.Floats(mean) = counted == 0 ? 0f : (float)(sum / counted);
    }

    /// <inheritdoc/>
    protected override void CrossEntropyBackwardCore(Tensor logits, Tensor targets, Tensor logSumExp, Tensor dMean, Tensor dLogits)
    {
        using WideOperands wide = _wide;
        int counted = CheckTargets(targets, logits.Shape[1]);
        var work = new Operands
        {
            A = wide.Read(logits), B = Operands.Floats(logSumExp), C = wide.Write(dLogits), Ids = Operands.Ints(targets),
            Rows = (int)logits.Shape[0], Width = (int)logits.Shape[1], Step = RowsPerChunk(logits.Shape[1]),
            Scalar = counted == 0 ? 0f : (float)((double)*Operands.Floats(dMean) / counted),
        };
        Parallel.For(work.Chunks, work, static (w, chunk) =>
        {
            Vector256<float> factor = Vector256.Create(w.Scalar);
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                float* row = w.A + ((nint)t * w.Width), gradient = w.C + ((nint)t * w.Width);
                int target = w.Ids[t];
                if (target < 0)
                {
                    Clear(gradient, w.Width);
                    continue;
                }

                // Before the row is written, which may be the row of logits.
                float atTarget = (VectorMath.Exp(row[target] - w.B[t]) - 1f) * w.Scalar;
                Vector256<float> shift = Vector256.Create(w.B[t]);
                for (int i = 0; i < w.Width; i += VectorMath.Lanes)
                {
                    int rest = w.Width - i;
                    VectorMath.Store(VectorMath.Exp(VectorMath.Load(row + i, rest) - shift) * factor, gradient + i, rest);
                }

                gradient[target] = atTarget;
            }
        });
    }

    private static int CheckTargets(Tensor targets, long classes)
    {
        int* target = Operands.Ints(targets);
        int counted = 0;
        for (long t = 0; t < targets.ElementCount; t++)
        {
            if (target[t] >= classes)
            {
                throw new ArgumentOutOfRangeException(
                    nameof(targets), target[t],
                    $"Target {target[t]} at position {t} is not a class, which are 0..{classes - 1}; use a negative target to ignore a position.");
            }

            counted += target[t] < 0 ? 0 : 1;
        }

        return counted;
    }
}
