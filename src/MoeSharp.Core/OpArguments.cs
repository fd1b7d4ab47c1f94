namespace MoeSharp.Core;

/// <summary>Layout of an attention call. Tensors are [Batch*Length, Heads*HeadDim], token-major.</summary>
/// <param name="Batch">Sequences B.</param>
/// <param name="QueryLength">Query positions per sequence.</param>
/// <param name="KeyLength">Valid key positions per sequence; query i sits at position KeyLength - QueryLength + i.</param>
/// <param name="Heads">Query heads H.</param>
/// <param name="KeyValueHeads">Key/value heads; divides H. Query head h reads key head h * KeyValueHeads / H.</param>
/// <param name="HeadDim">Width of a head.</param>
/// <param name="Scale">Factor on query-key products, usually 1/sqrt(HeadDim).</param>
/// <param name="Causal">Whether a query sees keys up to its own position only.</param>
public sealed record AttentionSpec(
    int Batch, int QueryLength, int KeyLength, int Heads, int KeyValueHeads, int HeadDim, double Scale, bool Causal = true)
{
    /// <summary>Key rows stored per sequence (a cache may be longer than what is valid); 0 means <see cref="KeyLength"/>.</summary>
    public int KeyCapacity { get; init; }

    /// <summary>Distance in rows between two sequences of the key and value tensors.</summary>
    public int KeyStride => KeyCapacity == 0 ? KeyLength : KeyCapacity;
}

/// <summary>Rotary position embedding (Su et al., RoFormer, arXiv 2104.09864): pair i of a head turns by position * Theta^(-2i/HeadDim).</summary>
/// <param name="HeadDim">Width of a head, even.</param>
/// <param name="Theta">Base of the frequencies.</param>
/// <param name="Interleaved">Pairs (2i, 2i+1) as in the paper, or (i, i + HeadDim/2) as in Llama checkpoints.</param>
public readonly record struct RopeSpec(int HeadDim, double Theta = 10000, bool Interleaved = false);

/// <summary>One AdamW step (Loshchilov and Hutter, arXiv 1711.05101), decoupled decay.</summary>
/// <param name="LearningRate">Step size of this step, schedule included.</param>
/// <param name="Beta1">Decay of the first moment.</param>
/// <param name="Beta2">Decay of the second moment.</param>
/// <param name="Epsilon">Added to the root of the second moment.</param>
/// <param name="WeightDecay">p loses LearningRate * WeightDecay * p.</param>
/// <param name="Step">1 for the first step; used for bias correction.</param>
public readonly record struct AdamWStep(
    double LearningRate, double Beta1, double Beta2, double Epsilon, double WeightDecay, long Step);
