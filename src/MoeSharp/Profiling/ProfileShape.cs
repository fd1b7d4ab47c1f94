using MoeSharp.Core;

namespace MoeSharp.Profiling;

/// <summary>A MoE layer to measure, and how many tokens go through it.</summary>
/// <param name="Name">What tables call it.</param>
/// <param name="Tokens">Tokens T.</param>
/// <param name="Hidden">Width d.</param>
/// <param name="ExpertWidth">Width n of an expert.</param>
/// <param name="Experts">Real experts E.</param>
/// <param name="TopK">Slots K per token.</param>
/// <param name="Rho">Share of slots that hit a real expert, in (0, 1].</param>
/// <param name="Distribution">How the real slots spread.</param>
public sealed record ProfileShape(
    string Name, int Tokens, int Hidden, int ExpertWidth, int Experts, int TopK, double Rho = 1, RoutingDistribution Distribution = RoutingDistribution.Uniform)
{
    /// <summary>Published layers, with the tokens of a training step; the last one is small enough for a processor.</summary>
    public static IReadOnlyList<ProfileShape> Known { get; } =
    [
        new("olmoe-1b-7b", 8192, 2048, 1024, 64, 8),
        new("qwen3-30b-a3b", 8192, 2048, 768, 128, 8),
        new("mixtral-8x7b", 8192, 4096, 14336, 8, 2),
        new("deepseek-v3", 8192, 7168, 2048, 256, 8),
        new("kimi-k2", 8192, 7168, 2048, 384, 8),
        new("kimi-linear-48b", 8192, 2304, 1024, 256, 8),
        new("qwen3-next-80b", 8192, 2048, 512, 512, 10),
        new("sonic-7b", 24576, 1536, 256, 128, 8),
        new("sonic-30b", 32768, 4096, 512, 128, 8),
        new("sonic-120b", 32768, 4096, 1024, 128, 8),
        new("small", 1024, 256, 128, 16, 4),
    ];

    /// <summary>The known shape of a name.</summary>
    /// <exception cref="ArgumentException">There is none; the message lists the names.</exception>
    public static ProfileShape Find(string name) =>
        Known.FirstOrDefault(shape => shape.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
        ?? throw new ArgumentException($"'{name}' is not a known shape; use one of {string.Join(", ", Known.Select(shape => shape.Name))}.", nameof(name));

    /// <summary>Checks every field.</summary>
    /// <returns>This shape, for chaining.</returns>
    /// <exception cref="ArgumentException">A value is out of range; the message says which.</exception>
    public ProfileShape Validate()
    {
        Guard.That(Tokens >= 1, $"A measurement needs at least 1 token, got {Tokens}.");
        Guard.That(Hidden >= 1 && ExpertWidth >= 1, $"Widths are at least 1, got d = {Hidden} and n = {ExpertWidth}.");
        Guard.That(Rho is > 0 and <= 1, $"The share of real slots is in (0, 1], got {Rho}.");
        Guard.That(TopK <= Experts, $"A measured layer chooses up to {Experts} different experts, got top-k {TopK}.");
        RouterSpec.WithNulls(Experts, TopK, Rho).Validate();
        return this;
    }
}
