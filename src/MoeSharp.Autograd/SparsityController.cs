using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Holds the share of experts that stay silent at a target, by the weight of the L1 loss of a ReLU router (ReMoE, arXiv 2412.14711, eq. 6).</summary>
/// <remarks>
/// The problem: a ReLU router fires as many experts as it likes. Its regulariser is <see cref="GateResult.BalanceLoss"/>, and no fixed
/// weight of it gives a chosen sparsity. The choice, ReMoE's: after every step the weight is multiplied by <see cref="Factor"/> when fewer
/// experts are silent than wanted, else divided by it. Starting at 1e-8 the model trains dense for a while and grows sparse by itself.
/// The state is <see cref="Coefficient"/>; save it with a checkpoint and give it back.
/// </remarks>
public sealed class SparsityController
{
    /// <summary>Weight of the loss that ReMoE starts from.</summary>
    public const double InitialCoefficient = 1e-8;

    /// <summary>Makes a controller.</summary>
    /// <param name="target">Share of experts that stay silent, in [0, 1): 1 - k / E for k experts per token.</param>
    /// <param name="coefficient">Weight of the loss at the start, &gt; 0.</param>
    /// <param name="factor">What a step multiplies or divides it by, &gt; 1; 1.2 in ReMoE.</param>
    /// <exception cref="ArgumentException">A value is out of range.</exception>
    public SparsityController(double target, double coefficient = InitialCoefficient, double factor = 1.2)
    {
        Guard.That(target >= 0 && target < 1, $"The target sparsity is in [0, 1), got {target}.");
        Guard.That(coefficient > 0 && double.IsFinite(coefficient), $"The coefficient is > 0 and finite, got {coefficient}.");
        Guard.That(factor > 1 && double.IsFinite(factor), $"The factor of a step is > 1 and finite, got {factor}.");
        Target = target;
        Coefficient = coefficient;
        Factor = factor;
    }

    /// <summary>Wanted share of silent experts.</summary>
    public double Target { get; }

    /// <summary>What a step multiplies or divides by.</summary>
    public double Factor { get; }

    /// <summary>Weight of the balance loss in the next step.</summary>
    public double Coefficient { get; private set; }

    /// <summary>Share of (token, real expert) pairs that are silent, from the counts, which it reads back. NaN for no tokens.</summary>
    public static double Sparsity(RouterSpec spec, GateResult routing)
    {
        long active = routing.Counts.ToArray<int>().Take(spec.Experts).Sum(count => (long)count);
        return 1 - ((double)active / (routing.Ids.Shape[0] * spec.Experts));
    }

    /// <summary>Moves the coefficient by a measured share of silent experts, over all layers. NaN, and the target itself, change nothing.</summary>
    public void Update(double sparsity)
    {
        if (sparsity < Target)
        {
            Coefficient = Math.Min(Coefficient * Factor, double.MaxValue);
        }
        else if (sparsity > Target)
        {
            Coefficient = Math.Max(Coefficient / Factor, double.Epsilon);
        }
    }
}
