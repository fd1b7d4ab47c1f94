using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>What <see cref="Tape.Quantize"/> gives. Tensors are valid until <see cref="Tape.Reset"/>.</summary>
/// <param name="Output">[T, d]: rows mixed with their codes.</param>
/// <param name="Loss">[1], not weighted.</param>
/// <param name="Codes">Int32 [T].</param>
public sealed record QuantizeNode(Variable Output, Variable Loss, Tensor Codes);
