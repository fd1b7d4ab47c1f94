namespace MoeSharp.Core;

/// <content>Optimizer ops.</content>
public abstract partial class Backend
{
    /// <summary>L2 norm over all gradients together, summed in a fixed order, accumulated in double on the host backends.</summary>
    /// <param name="gradients">Float tensors of any shapes.</param>
    /// <param name="norm">[1].</param>
    public void GradNorm(IReadOnlyList<Tensor> gradients, Tensor norm)
    {
        foreach (Tensor gradient in gradients)
        {
            Guard.Holds(gradient, FloatType, 0);
        }

        Is(norm, 1);
        GradNormCore(gradients, norm);
    }

    /// <summary>factor = min(1, maxNorm / (norm + 1e-6)); 1 when maxNorm is 0 (off).</summary>
    /// <param name="norm">[1].</param>
    /// <param name="maxNorm">Largest norm allowed, 0 for no clipping.</param>
    /// <param name="factor">[1].</param>
    public void ClipFactor(Tensor norm, double maxNorm, Tensor factor)
    {
        Is(norm, 1);
        Is(factor, 1);
        ClipFactorCore(norm, maxNorm, factor);
    }

    /// <summary>
    /// One AdamW update with g = factor * gradient: m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
    /// p -= lr (m / (1-b1^t) / (sqrt(v / (1-b2^t)) + eps) + decay p).
    /// </summary>
    /// <param name="gradient">Any shape.</param>
    /// <param name="factor">[1], from <see cref="ClipFactor"/>.</param>
    /// <param name="step">Hyper-parameters of this step.</param>
    /// <param name="parameter">Updated in place.</param>
    /// <param name="firstMoment">Updated in place.</param>
    /// <param name="secondMoment">Updated in place.</param>
    public void AdamW(Tensor gradient, Tensor factor, AdamWStep step, Tensor parameter, Tensor firstMoment, Tensor secondMoment)
    {
        Is(factor, 1);
        SameFloats(gradient, parameter);
        SameFloats(gradient, firstMoment);
        SameFloats(gradient, secondMoment);
        Guard.That(step.Step >= 1, $"AdamW steps count from 1, got {step.Step}.");
        AdamWCore(gradient, factor, step, parameter, firstMoment, secondMoment);
    }

#pragma warning disable CS1591 // The Core twins mean what their public methods document.
    protected abstract void GradNormCore(IReadOnlyList<Tensor> gradients, Tensor norm);

    protected abstract void ClipFactorCore(Tensor norm, double maxNorm, Tensor factor);

    protected abstract void AdamWCore(Tensor gradient, Tensor factor, AdamWStep step, Tensor parameter, Tensor firstMoment, Tensor secondMoment);
#pragma warning restore CS1591
}
