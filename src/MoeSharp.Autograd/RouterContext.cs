using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>What a <see cref="Router"/> may look at beside the vectors of the tokens. Everything is borrowed.</summary>
public sealed record RouterContext
{
    /// <summary>Nothing: inference by a router that needs no token ids, in a layer of its own.</summary>
    public static RouterContext None { get; } = new();

    /// <summary>Int32 [T]: ids of the tokens; a hash router needs them.</summary>
    public Tensor? TokenIds { get; init; }

    /// <summary>Number of the forward pass in training, from which random numbers follow; null outside training, where nothing is random.</summary>
    public long? Pass { get; init; }

    /// <summary>Whether the pass is made for its routing alone and thrown away: it routes like the one that follows, and counts in no router's memory.</summary>
    public bool Rehearsal { get; init; }

    /// <summary>[T, C]: router logits of the MoE layer before this one; a gating residual needs them.</summary>
    public Variable? PreviousLogits { get; init; }
}
