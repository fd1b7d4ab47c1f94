using MoeSharp.Autograd;

namespace MoeSharp.Models;

/// <summary>What a <see cref="Transformer"/> gives. Tensors are valid until the tape is reset.</summary>
/// <param name="Logits">[batch * length, V]: scores of the next token.</param>
/// <param name="BalanceLoss">[1], mean over layers, not weighted; null for a dense model.</param>
/// <param name="ZLoss">[1], mean over layers, not weighted; null for a dense model.</param>
/// <param name="Layers">Output and routing of every MoE layer, in order; none for a dense model.</param>
public sealed record TransformerOutput(Variable Logits, Variable? BalanceLoss, Variable? ZLoss, IReadOnlyList<MoeOutput> Layers)
{
    /// <summary>[1]: loss of the codebooks, mean over layers, not weighted; null without codebooks.</summary>
    public Variable? CodeLoss { get; init; }
}
