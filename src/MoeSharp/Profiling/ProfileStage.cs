namespace MoeSharp.Profiling;

/// <summary>One op of a layer, what it has to do at least, and how to run it.</summary>
/// <param name="Name">Name of the op in the contract.</param>
/// <param name="Flops">Floating-point operations of the model: padding and null slots are never counted.</param>
/// <param name="Bytes">Bytes moved when every operand moves once.</param>
/// <param name="Run">Runs the op once.</param>
public sealed record ProfileStage(string Name, double Flops, double Bytes, Action Run);
