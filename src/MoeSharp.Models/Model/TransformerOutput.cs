using MoeSharp.Autograd;

namespace MoeSharp.Models;

/// <summary>What a <see cref="Transformer"/> gives. Tensors are valid until the tape is reset.</summary>
/// <param name="Logits">[batch * length, V]: scores of the next token.</param>
/// <param name="BalanceLoss">[1], mean over layers, not weighted.</param>
/// <param name="ZLoss">[1], mean over layers, not weighted.</param>
/// <param name="Layers">Output and routing of every MoE layer, in order.</param>
public sealed record TransformerOutput(Variable Logits, Variable BalanceLoss, Variable ZLoss, IReadOnlyList<MoeOutput> Layers);
