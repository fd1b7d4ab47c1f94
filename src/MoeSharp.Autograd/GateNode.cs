using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>What <see cref="Tape.Gate"/> gives: differentiable outputs and the routing they belong to.</summary>
/// <param name="Weights">[T, K] combine weights.</param>
/// <param name="BalanceLoss">[1], not weighted.</param>
/// <param name="ZLoss">[1], not weighted.</param>
/// <param name="Result">All tensors of the gate; valid until <see cref="Tape.Reset"/>.</param>
public sealed record GateNode(Variable Weights, Variable BalanceLoss, Variable ZLoss, GateResult Result)
{
    /// <summary>[T, d]: what the experts read in place of the layer's input; null where they read that.</summary>
    public Variable? Input { get; init; }

    /// <summary>[1]: loss of the codebook, not weighted; null without one.</summary>
    public Variable? CodeLoss { get; init; }

    /// <summary>Int32 [T]: code of each token; null without a codebook.</summary>
    public Tensor? Codes { get; init; }

    /// <summary>[T, C]: what a <see cref="Router"/> scored the tokens by, before noise and biases; null where there are no logits.</summary>
    public Variable? Logits { get; init; }

    /// <summary>Most real slots in the ids, where a capacity bounds them below T*K; else 0.</summary>
    public int RowLimit { get; init; }
}
