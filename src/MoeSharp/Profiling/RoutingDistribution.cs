namespace MoeSharp.Profiling;

/// <summary>How the real slots of a measured layer spread over its experts.</summary>
public enum RoutingDistribution
{
    /// <summary>Every expert alike.</summary>
    Uniform,

    /// <summary>Expert e with weight 1 / (e + 1).</summary>
    Zipf,

    /// <summary>Expert 0 takes half of the real slots.</summary>
    Hot,

    /// <summary>The upper half of the experts gets nothing.</summary>
    HalfEmpty,
}
