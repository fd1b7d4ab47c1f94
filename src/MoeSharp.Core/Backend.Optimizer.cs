namespace MoeSharp.Core;

/// <content>Optimizer ops.</content>
public abstract partial class Backend
{
    /// <summary>L2 norm over all gradients together, summed in a fixed order, accumulated in double on the host backends.</summary>
    /// <param name="gradients">Wide tensors of any shapes.</param>
    /// <param name="norm">Wide [1].</param>
    public void GradNorm(IReadOnlyList<Tensor> gradients, Tensor norm)
    {
        foreach (Tensor gradient in gradients)
        {
            Guard.Holds(gradient, WideType, 0);
        }

        Wide(norm, 1);
        GradNormCore(gradients, norm);
    }

    /// <summary>factor = min(1, maxNorm / (norm + 1e-6)); 1 when maxNorm is 0 (off).</summary>
    /// <param name="norm">Wide [1].</param>
    /// <param name="maxNorm">Largest norm allowed, 0 for no clipping.</param>
    /// <param name="factor">Wide [1].</param>
    public void ClipFactor(Tensor norm, double maxNorm, Tensor factor)
    {
        Wide(norm, 1);
        Wide(factor, 1);
        ClipFactorCore(norm, maxNorm, factor);
    }

    /// <summary>
    /// One AdamW update with g = factor * gradient: m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2;
    /// p -= lr (m / (1-b1^t) / (sqrt(v / (1-b2^t)) + eps) + decay p).
    /// </summary>
    /// <remarks>The update is computed on the wide master weights; the parameter is their rounding. Where the float type is the wide type, master and parameter may be one tensor.</remarks>
    /// <param name="gradient">Wide, any shape.</param>
    /// <param name="factor">Wide [1], from <see cref="ClipFactor"/>.</param>
    /// <param name="step">Hyper-parameters of this step.</param>
    /// <param name="master">Wide weights, updated in place.</param>
    /// <param name="firstMoment">Wide, updated in place.</param>
    /// <param name="secondMoment">Wide, updated in place.</param>
    /// <param name="parameter">Float weights: the master, rounded.</param>
    public void AdamW(Tensor gradient, Tensor factor, AdamWStep step, Tensor master, Tensor firstMoment, Tensor secondMoment, Tensor parameter)
    {
        Wide(factor, 1);
        foreach (Tensor state in (ReadOnlySpan<Tensor>)[gradient, master, firstMoment, secondMoment])
        {
            Guard.Holds(state, WideType, 0);
            Guard.That(
                state.ElementCount == parameter.ElementCount,
                $"AdamW needs {WideType} tensors of the parameter's size, {parameter}; got {state}.");
        }

        Guard.Holds(parameter, FloatType, 0);
        Guard.That(step.Step >= 1, $"AdamW steps count from 1, got {step.Step}.");
        AdamWCore(gradient, factor, step, master, firstMoment, secondMoment, parameter);
    }

#pragma warning disable CS1591 // The Core twins mean what their public methods document.
    protected abstract void GradNormCore(IReadOnlyList<Tensor> gradients, Tensor norm);

    protected abstract void ClipFactorCore(Tensor norm, double maxNorm, Tensor factor);

    protected abstract void AdamWCore(
        Tensor gradient, Tensor factor, AdamWStep step, Tensor master, Tensor firstMoment, Tensor secondMoment, Tensor parameter);
#pragma warning restore CS1591
}
