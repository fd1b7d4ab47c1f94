namespace MoeSharp;

/// <summary>How an <see cref="Engine"/> chooses and sets up its backend.</summary>
public sealed record EngineOptions
{
    /// <summary><c>auto</c>, <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>. <c>auto</c> takes what is there; a named device is used or refused, never replaced.</summary>
    public string Device { get; init; } = "auto";

    /// <summary>Threads of the CPU backend; 0 means one per processor. Results do not depend on it.</summary>
    public int Threads { get; init; }
}
