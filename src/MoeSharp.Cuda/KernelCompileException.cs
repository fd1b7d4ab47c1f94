using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <summary>A kernel does not compile; the message holds the compiler's errors with the source lines they are about.</summary>
public sealed class KernelCompileException(string message, KernelKey key, string log) : MoeSharpException(message)
{
    /// <summary>What was compiled.</summary>
    public KernelKey Key { get; } = key;

    /// <summary>The compiler's whole log.</summary>
    public string Log { get; } = log;
}
