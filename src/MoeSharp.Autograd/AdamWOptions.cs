namespace MoeSharp.Autograd;

/// <summary>Hyper-parameters of <see cref="AdamW"/> that stay the same over a run.</summary>
public sealed record AdamWOptions
{
    /// <summary>Decay of the first moment.</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Decay of the second moment.</summary>
    public double Beta2 { get; init; } = 0.95;

    /// <summary>Added to the root of the second moment.</summary>
    public double Epsilon { get; init; } = 1e-8;

    /// <summary>Decoupled decay of parameters with <see cref="Parameter.Decay"/>.</summary>
    public double WeightDecay { get; init; } = 0.1;

    /// <summary>Largest norm of all gradients together; 0 for no clipping.</summary>
    public double ClipNorm { get; init; } = 1;
}
