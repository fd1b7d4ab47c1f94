using MoeSharp.Core;

namespace MoeSharp.Reference;

/// <content>Optimizer ops.</content>
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    protected override void GradNormCore(IReadOnlyList<Tensor> gradients, Tensor norm)
    {
        double sum = 0;
        foreach (Tensor gradient in gradients)
        {
            sum += Dot(Floats(gradient), Floats(gradient));
        }

        Floats(norm)[0] = Math.Sqrt(sum);
    }

    /// <inheritdoc/>
    protected override void ClipFactorCore(Tensor norm, double maxNorm, Tensor factor) =>
        Floats(factor)[0] = maxNorm == 0 ? 1 : Math.Min(1, maxNorm / (Floats(norm)[0] + 1e-6));

    /// <inheritdoc/>
    protected override void AdamWCore(
        Tensor gradient, Tensor factor, AdamWStep step, Tensor master, Tensor firstMoment, Tensor secondMoment, Tensor parameter)
    {
        Span<double> p = Floats(master), m = Floats(firstMoment), v = Floats(secondMoment);
        double correction1 = 1 - Math.Pow(step.Beta1, step.Step), correction2 = 1 - Math.Pow(step.Beta2, step.Step);
        for (int i = 0; i < p.Length; i++)
        {
            double g = Floats(factor)[0] * Floats(gradient)[i];
            m[i] = (step.Beta1 * m[i]) + ((1 - step.Beta1) * g);
            v[i] = (step.Beta2 * v[i]) + ((1 - step.Beta2) * g * g);
            double update = m[i] / correction1 / (Math.Sqrt(v[i] / correction2) + step.Epsilon);
            p[i] -= step.LearningRate * (update + (step.WeightDecay * p[i]));
        }

        p.CopyTo(Floats(parameter));
    }
}
