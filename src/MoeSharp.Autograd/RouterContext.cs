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

    /// <summary>[T, C]: router logits of the MoE layer before this one; a gating residual needs them.</summary>
    public Variable? PreviousLogits { get; init; }
}
