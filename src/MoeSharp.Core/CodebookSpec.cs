namespace MoeSharp.Core;

/// <summary>A discrete branch beside, or in place of, the router of a MoE layer: every token goes to the expert of its nearest code (VQMoE, arXiv 2411.19402).</summary>
/// <remarks>
/// Both branches share the experts: y = w_c y_c + w_d norm(E_e(norm(x~))), e the expert of the code, x~ the quantised token of
/// <see cref="QuantizerSpec"/>, w a learnt softmax over the two. <see cref="DiscreteOnly"/> is the model after the router was removed:
/// y = w_d norm(E_e(norm(x~))). The paper does not say what becomes of w_d; it stays, for it is what the layers above were trained with.
/// </remarks>
public sealed record CodebookSpec
{
    /// <summary>Codes N, at least as many as experts.</summary>
    public required int Codes { get; init; }

    /// <summary>Width of a code; 0 is the width of a token. A narrower code lives in a subspace that is drawn once and kept.</summary>
    public int Width { get; init; }

    /// <summary>What nearest means.</summary>
    public CodeDistance Distance { get; init; } = CodeDistance.Euclidean;

    /// <summary>Share of the code in the quantised token, in [0, 1]; 0.05 in the authors' code.</summary>
    public double Mix { get; init; } = 0.05;

    /// <summary>Whether the token keeps 1 - 2 mix of itself, as the authors' code computes, and not 1 - mix, as the method means; see <see cref="QuantizerSpec"/>.</summary>
    public bool LiteralMix { get; init; }

    /// <summary>Weight of the part of the codebook's loss that pulls tokens to their codes.</summary>
    public double Commitment { get; init; } = 0.25;

    /// <summary>Decay of the usage that says which codes are dead, in (0, 1); 0 switches revival off, as in the authors' base model.</summary>
    public double UsageDecay { get; init; } = 0.99;

    /// <summary>Expert of every code; null is code modulo experts.</summary>
    public IReadOnlyList<int>? ExpertOfCode { get; init; }

    /// <summary>Whether the router is gone and the codes alone choose.</summary>
    public bool DiscreteOnly { get; init; }

    /// <summary>The rules of the op. In a subspace it makes the shift alone, which is added to the token.</summary>
    public QuantizerSpec Quantizer => new() { Distance = Distance, Mix = Mix, Carry = Width == 0 ? Carry : 0, Commitment = Commitment };

    /// <summary>Factor of the token beside its code.</summary>
    public double Carry => LiteralMix ? QuantizerSpec.LiteralCarry(Mix) : 1;

    /// <summary>The expert of every code, filled in.</summary>
    /// <param name="experts">Experts E.</param>
    public int[] Map(int experts) => ExpertOfCode is null ? [.. Enumerable.Range(0, Codes).Select(code => code % experts)] : [.. ExpertOfCode];

    /// <summary>Checks every field against the others and the number of experts.</summary>
    /// <exception cref="ArgumentException">A value is out of range; the message says which.</exception>
    public void Validate(int experts)
    {
        Guard.That(Codes >= experts, $"A codebook of {Codes} codes leaves experts without one: {experts} experts need at least {experts} codes.");
        Guard.That(Width >= 0, $"The width of a code is >= 0 (0 is that of a token), got {Width}.");
        Guard.That(UsageDecay >= 0 && UsageDecay < 1, $"The decay of a code's usage is in [0, 1) (0 revives no code), got {UsageDecay}.");
        _ = Quantizer.Validate();
        if (ExpertOfCode is not null)
        {
            Guard.That(ExpertOfCode.Count == Codes, $"The map from codes to experts has {ExpertOfCode.Count} entries for {Codes} codes.");
            int strange = ExpertOfCode.FirstOrDefault(expert => expert < 0 || expert >= experts, -1);
            Guard.That(ExpertOfCode.All(expert => expert >= 0 && expert < experts), $"The map from codes to experts names expert {strange}; there are 0 to {experts - 1}.");
            int lonely = Enumerable.Range(0, experts).FirstOrDefault(expert => !ExpertOfCode.Contains(expert), -1);
            Guard.That(lonely < 0, $"No code is mapped to expert {lonely}; every expert needs one.");
        }
    }

    /// <inheritdoc/>
    public bool Equals(CodebookSpec? other) =>
        other is not null && (Codes, Width, Distance, Mix, LiteralMix, Commitment) == (other.Codes, other.Width, other.Distance, other.Mix, other.LiteralMix, other.Commitment)
        && (UsageDecay, DiscreteOnly) == (other.UsageDecay, other.DiscreteOnly)
        && (ReferenceEquals(ExpertOfCode, other.ExpertOfCode) || (ExpertOfCode is not null && other.ExpertOfCode is not null && ExpertOfCode.SequenceEqual(other.ExpertOfCode)));

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Codes, Width, Distance, Mix, LiteralMix, Commitment, UsageDecay, DiscreteOnly);
}
