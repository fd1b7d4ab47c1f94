namespace MoeSharp.Cuda;

/// <summary>Identity of a compiled kernel file.</summary>
public sealed record KernelKey;
