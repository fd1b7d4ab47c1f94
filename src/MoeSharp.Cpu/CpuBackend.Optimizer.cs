using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <content>
/// Optimizer ops. The norm is summed in double: lanes inside a chunk of <see cref="ElementsPerChunk"/> elements, then chunks in
/// order, then tensors in order; so one square can neither overflow nor be lost. AdamW is one pass over four arrays.
/// </content>
public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void GradNormCore(IReadOnlyList<Tensor> gradients, Tensor norm)
    {
        double sum = 0;
        for (int index = 0; index < gradients.Count; index++)
        {
            var work = new Operands { A = Operands.Floats(gradients[index]), Count = gradients[index].ElementCount };
            int chunks = FlatChunks(work.Count);
            work.Partials = Scratch.Shared(0, 2L * chunks);
            Parallel.For(chunks, work, static (w, chunk) =>
            {
                long first = (long)chunk * ElementsPerChunk;
                ((double*)w.Partials)[chunk] = SumOfSquares(w.A + first, (int)Math.Min(ElementsPerChunk, w.Count - first));
            });
            for (int chunk = 0; chunk < chunks; chunk++)
            {
                sum += ((double*)work.Partials)[chunk];
            }
        }

        *Operands.Floats(norm) = (float)Math.Sqrt(sum);
    }

    /// <inheritdoc/>
    protected override void ClipFactorCore(Tensor norm, double maxNorm, Tensor factor) =>
        *Operands.Floats(factor) = maxNorm == 0 ? 1f : (float)Math.Min(1.0, maxNorm / (*Operands.Floats(norm) + 1e-6));

    /// <inheritdoc/>
    protected override void AdamWCore(
        Tensor gradient, Tensor factor, AdamWStep step, Tensor master, Tensor firstMoment, Tensor secondMoment, Tensor parameter)
    {
        var work = new Operands
        {
            A = Operands.Floats(gradient), B = Operands.Floats(master), C = Operands.Floats(firstMoment),
            D = Operands.Floats(secondMoment), Count = parameter.ElementCount, Scalar = *Operands.Floats(factor),
        };
        Parallel.For(FlatChunks(work.Count), (Work: work, Step: step, Rounded: (nint)(parameter.DType == DType.BFloat16 ? parameter.Pointer : 0)), static (state, chunk) =>
        {
            Operands w = state.Work;
            long first = (long)chunk * ElementsPerChunk;
            int n = (int)Math.Min(ElementsPerChunk, w.Count - first);
            UpdateAdamW(w.A + first, w.Scalar, state.Step, w.B + first, w.C + first, w.D + first, n);
            if (state.Rounded != 0)
            {
                BFloat16Rows.Narrow(w.B + first, (ushort*)state.Rounded + first, n);
            }
        });
        if (parameter.DType == DType.Float32 && master.Pointer != parameter.Pointer)
        {
            Buffer.MemoryCopy((void*)master.Pointer, (void*)parameter.Pointer, parameter.ByteCount, parameter.ByteCount);
        }
    }

    private static void UpdateAdamW(float* gradient, float clip, AdamWStep step, float* parameter, float* first, float* second, int n)
    {
        Vector256<float> factor = Vector256.Create(clip);
        Vector256<float> keep1 = Vector256.Create((float)step.Beta1), take1 = Vector256.Create((float)(1 - step.Beta1));
        Vector256<float> keep2 = Vector256.Create((float)step.Beta2), take2 = Vector256.Create((float)(1 - step.Beta2));
        Vector256<float> correct1 = Vector256.Create((float)(1 / (1 - Math.Pow(step.Beta1, step.Step))));
        Vector256<float> correct2 = Vector256.Create((float)(1 / (1 - Math.Pow(step.Beta2, step.Step))));
        Vector256<float> epsilon = Vector256.Create((float)step.Epsilon), decay = Vector256.Create((float)step.WeightDecay);
        Vector256<float> rate = Vector256.Create((float)-step.LearningRate);
        for (int i = 0; i < n; i += VectorMath.Lanes)
        {
            int rest = n - i;
            Vector256<float> g = VectorMath.Load(gradient + i, rest) * factor, p = VectorMath.Load(parameter + i, rest);
            Vector256<float> m = Vector256.FusedMultiplyAdd(keep1, VectorMath.Load(first + i, rest), take1 * g);
            Vector256<float> v = Vector256.FusedMultiplyAdd(keep2, VectorMath.Load(second + i, rest), take2 * g * g);
            VectorMath.Store(m, first + i, rest);
            VectorMath.Store(v, second + i, rest);
            Vector256<float> update = m * correct1 / (Vector256.Sqrt(v * correct2) + epsilon);
            VectorMath.Store(Vector256.FusedMultiplyAdd(rate, Vector256.FusedMultiplyAdd(decay, p, update), p), parameter + i, rest);
        }
    }

    private static double SumOfSquares(float* x, int n)
    {
        Vector256<double> low = default, high = default;
        for (int i = 0; i < n; i += VectorMath.Lanes)
        {
            (Vector256<double> a, Vector256<double> b) = Vector256.Widen(VectorMath.Load(x + i, n - i));
            low = Vector256.FusedMultiplyAdd(a, a, low);
            high = Vector256.FusedMultiplyAdd(b, b, high);
        }

        Vector256<double> sum = low + high;
        return (sum[0] + sum[2]) + (sum[1] + sum[3]);
    }
}
