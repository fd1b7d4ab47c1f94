using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>How text is generated.</summary>
public sealed record GenerateOptions
{
    /// <summary>Divides the logits; 0 always takes the most probable byte.</summary>
    public double Temperature { get; init; } = 0.8;

    /// <summary>Probability mass of the bytes that are considered, in (0, 1].</summary>
    public double TopP { get; init; } = 0.95;

    /// <summary>Seed; equal seeds give equal text.</summary>
    public ulong Seed { get; init; }

    /// <summary>Bytes to generate.</summary>
    public int MaxTokens { get; init; } = 256;

    /// <summary>Checks every value.</summary>
    /// <returns>These options, for chaining.</returns>
    /// <exception cref="ArgumentException">A value is out of range.</exception>
    public GenerateOptions Validate()
    {
        Guard.That(double.IsFinite(Temperature) && Temperature >= 0, $"The temperature is a number >= 0, got {Temperature}.");
        Guard.That(TopP is > 0 and <= 1, $"top-p is in (0, 1], got {TopP}.");
        Guard.That(MaxTokens >= 0, $"The number of tokens is at least 0, got {MaxTokens}.");
        return this;
    }
}
