using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>What <see cref="Tape.Gate"/> gives: differentiable outputs and the routing they belong to.</summary>
/// <param name="Weights">[T, K] combine weights.</param>
/// <param name="BalanceLoss">[1], not weighted.</param>
/// <param name="ZLoss">[1], not weighted.</param>
/// <param name="Result">All tensors of the gate; valid until <see cref="Tape.Reset"/>.</param>
public sealed record GateNode(Variable Weights, Variable BalanceLoss, Variable ZLoss, GateResult Result)
{
    /// <summary>[T, C]: what a <see cref="Router"/> scored the tokens by, before noise and biases; null where there are no logits.</summary>
    public Variable? Logits { get; init; }
}
