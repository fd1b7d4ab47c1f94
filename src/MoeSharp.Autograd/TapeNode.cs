using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>One recorded operation: what the rule of <see cref="Op"/> needs to send gradients from the outputs to the inputs.</summary>
/// <param name="Op">Selects the rule.</param>
/// <param name="Inputs">Variables, in the order of the op's arguments.</param>
/// <param name="Parameters">Trained tensors; null for an absent optional one.</param>
/// <param name="Outputs">Variables the op made.</param>
/// <param name="Saved">Workspace kept for backward only, returned to the pool right after the rule ran.</param>
/// <param name="Argument">Specs and borrowed index tensors, of a type that the op and its rule agree on.</param>
internal sealed record TapeNode(
    TapeOp Op, Variable[] Inputs, Parameter?[] Parameters, Variable[] Outputs, Tensor[] Saved, object? Argument);
