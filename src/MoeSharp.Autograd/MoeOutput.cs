using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>What a <see cref="MoeLayer"/> gives. Tensors are valid until <see cref="Tape.Reset"/>.</summary>
/// <param name="Output">[T, d].</param>
/// <param name="BalanceLoss">[1], not weighted.</param>
/// <param name="ZLoss">[1], not weighted.</param>
/// <param name="Routing">Ids, weights and statistics of the gate.</param>
/// <param name="Plan">Rows per expert.</param>
/// <param name="Spec">The rules of the gate: <see cref="Router.Spec"/>.</param>
public sealed record MoeOutput(
    Variable Output, Variable BalanceLoss, Variable ZLoss, GateResult Routing, RoutingPlan Plan, RouterSpec Spec)
{
    /// <summary>Routing, codes and loss of the discrete branch (VQMoE); null without one. When it is the only branch, <see cref="Routing"/> is its routing.</summary>
    public GateNode? Discrete { get; init; }

    /// <summary>[T, C]: router logits, for the gating residual of the next layer; null where there are none. Without recording, the caller releases it.</summary>
    public Variable? Logits { get; init; }
}
