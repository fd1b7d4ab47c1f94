namespace MoeSharp.Conformance;

/// <summary>A test left tensors behind, or disposed tensors that it did not make.</summary>
public sealed class LeakException(string message) : Exception(message);
