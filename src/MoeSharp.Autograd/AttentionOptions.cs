using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Whether and how queries and keys are normed before rotation.</summary>
public enum QueryKeyNorm
{
    /// <summary>Not at all (Llama, Mixtral).</summary>
    None,

    /// <summary>Every head by itself, one weight of head width (Qwen3).</summary>
    PerHead,

    /// <summary>All heads together, one weight of full width (OLMoE).</summary>
    Whole,
}

/// <summary>Shape and variants of an attention layer.</summary>
public sealed record AttentionOptions
{
    /// <summary>Width of the residual stream.</summary>
    public required int Hidden { get; init; }

    /// <summary>Query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Key/value heads; divides <see cref="Heads"/>.</summary>
    public required int KeyValueHeads { get; init; }

    /// <summary>Width of a head, even.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Rotary embedding.</summary>
    public required RopeSpec Rope { get; init; }

    /// <summary>Norm of queries and keys.</summary>
    public QueryKeyNorm QueryKeyNorm { get; init; }

    /// <summary>Epsilon of those norms.</summary>
    public double Epsilon { get; init; } = 1e-6;

    /// <summary>Whether the q, k and v projections have a bias (Qwen2).</summary>
    public bool Bias { get; init; }

    /// <summary>Checks every field against the others.</summary>
    /// <returns>These options, for chaining.</returns>
    /// <exception cref="ArgumentException">A value is out of range.</exception>
    public AttentionOptions Validate()
    {
        Guard.That(Hidden >= 1, $"The hidden width is at least 1, got {Hidden}.");
        Guard.That(
            KeyValueHeads >= 1 && Heads >= 1 && Heads % KeyValueHeads == 0,
            $"The key/value heads divide the heads, got {Heads} heads and {KeyValueHeads} key/value heads.");
        Guard.That(HeadDim >= 2 && HeadDim % 2 == 0, $"The head width is even, got {HeadDim}.");
        Guard.That(Rope.HeadDim == HeadDim, $"The rotary embedding is for heads of width {Rope.HeadDim}, the layer has {HeadDim}.");
        return this;
    }
}
