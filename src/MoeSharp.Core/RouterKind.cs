namespace MoeSharp.Core;

/// <summary>Where the logits of a router come from.</summary>
public enum RouterKind
{
    /// <summary>A product of the token and one row of weights per column.</summary>
    Linear,

    /// <summary>The cosine between a low-dimensional token and an embedding per column (X-MoE, arXiv 2204.09179).</summary>
    Cosine,

    /// <summary>A fixed map from token ids to experts (hash layers, arXiv 2106.04426).</summary>
    Hash,

    /// <summary>Linear logits by which experts choose tokens (arXiv 2202.09368). Not causal.</summary>
    ExpertChoice,

    /// <summary>Linear logits with learnt noise in training (arXiv 1701.06538).</summary>
    NoisyTopK,
}
