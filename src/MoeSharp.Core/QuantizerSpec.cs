namespace MoeSharp.Core;

/// <summary>How near a vector is to a code.</summary>
public enum CodeDistance
{
    /// <summary>||x - v||^2.</summary>
    Euclidean,

    /// <summary>||x/||x|| - v/||v|| ||^2 = 2 - 2 cos(x, v). A vector of zeros stays one, and is equally far from every code.</summary>
    Cosine,
}

/// <summary>Vector quantisation as data: which code a vector gets, and what of it goes on (VQMoE, arXiv 2411.19402).</summary>
/// <remarks>
/// With v the nearest code and q = v (Euclidean) or q = ||x|| v/||v|| (cosine), the output is y = carry x + mix (q - x), whose bracket is constant
/// to the gradient: dX = carry dY (straight through). <see cref="Carry"/> says which form that is. 1, the default and what the method means:
/// y = (1 - mix) x + mix q, and the whole gradient goes through. <see cref="LiteralCarry"/>: what the authors' code computes,
/// (1 - mix) x + mix (q - x) = (1 - 2 mix) x + mix q, and 1 - mix of the gradient. 0: the shift mix (q - x) alone, without gradient, which a
/// codebook of a subspace adds to the whole vector.
/// </remarks>
public sealed record QuantizerSpec
{
    /// <summary>What nearest means.</summary>
    public CodeDistance Distance { get; init; } = CodeDistance.Euclidean;

    /// <summary>Share of the code in the output, in [0, 1]; 0.05 in the authors' code.</summary>
    public double Mix { get; init; } = 0.05;

    /// <summary>Factor of the vector itself, in [0, 1].</summary>
    public double Carry { get; init; } = 1;

    /// <summary>Weight of the part of the loss that pulls vectors to their codes, &gt;= 0; the part that pulls codes has weight 1.</summary>
    public double Commitment { get; init; } = 0.25;

    /// <summary>The carry of the authors' code for a mix: 1 - mix.</summary>
    public static double LiteralCarry(double mix) => 1 - mix;

    /// <summary>Checks every field.</summary>
    /// <returns>This spec, for chaining.</returns>
    /// <exception cref="ArgumentException">A value is out of range; the message says which.</exception>
    public QuantizerSpec Validate()
    {
        Guard.That(Mix >= 0 && Mix <= 1, $"The share of a code in the quantised vector is in [0, 1], got {Mix}.");
        Guard.That(Carry >= 0 && Carry <= 1, $"The factor of the vector beside its code is in [0, 1], got {Carry}.");
        Guard.That(Commitment >= 0 && double.IsFinite(Commitment), $"The commitment weight is >= 0 and finite, got {Commitment}.");
        return this;
    }
}
