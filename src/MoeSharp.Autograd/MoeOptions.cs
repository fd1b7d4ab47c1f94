using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Shape and variants of a Mixture-of-Experts layer.</summary>
public sealed record MoeOptions
{
    /// <summary>Width d of the residual stream.</summary>
    public required int Hidden { get; init; }

    /// <summary>Inner width n of an expert.</summary>
    public required int ExpertWidth { get; init; }

    /// <summary>How tokens choose experts.</summary>
    public required RouterSpec Router { get; init; }

    /// <summary>Inner width of the shared expert that every token passes; 0 for none.</summary>
    public int SharedWidth { get; init; }

    /// <summary>Whether a learnt sigmoid per token scales the shared expert (Qwen2-MoE).</summary>
    public bool SharedGate { get; init; }

    /// <summary>Whether the router has a trained bias (GPT-OSS).</summary>
    public bool RouterBias { get; init; }

    /// <summary>Factor on the router's input.</summary>
    public double InputScale { get; init; } = 1;

    /// <summary>
    /// Capacity of an expert over an even share of one slot per token; pairs beyond it are dropped, lower ranks first kept (XMoE, arXiv
    /// 2403.18926). 0 drops nothing, which is causal; with a capacity a token's output depends on later tokens and on the batch.
    /// </summary>
    public double CapacityFactor { get; init; }

    /// <summary>Token ids that there are; a hash router needs to know.</summary>
    public int Vocabulary { get; init; }

    /// <summary>Whether the router adds a learnt map of the router logits of the MoE layer before it (MoE++, arXiv 2410.07348).</summary>
    public bool GatingResidual { get; init; }

    /// <summary>Whether no later token can change the output of an earlier one.</summary>
    public bool IsCausal => CapacityFactor == 0 && Router.IsCausal;

    /// <summary>Checks every field against the others.</summary>
    /// <returns>These options, for chaining.</returns>
    /// <exception cref="ArgumentException">A value is out of range.</exception>
    public MoeOptions Validate()
    {
        Router.Validate();
        Guard.That(
            Router.Codebook is null || Router.Codebook.Width <= Hidden,
            $"A code is at most as wide as a token, {Hidden}, got {Router.Codebook?.Width}.");
        Guard.That(Hidden >= 1 && ExpertWidth >= 1, $"Hidden and expert width are at least 1, got {Hidden} and {ExpertWidth}.");
        Guard.That(SharedWidth >= 0, $"The width of the shared expert is >= 0, got {SharedWidth}.");
        Guard.That(!SharedGate || SharedWidth > 0, "A shared-expert gate needs a shared expert: set SharedWidth.");
        Guard.That(CapacityFactor >= 0 && double.IsFinite(CapacityFactor), $"The capacity factor is >= 0 (0 is off) and finite, got {CapacityFactor}.");
        RouterKind kind = Router.Kind;
        Guard.That(
            kind == RouterKind.Linear || (!RouterBias && InputScale == 1),
            $"A router bias and an input scale are those of a linear router, this one is RouterKind.{kind}: leave them out.");
        Guard.That(
            Router.IsCausal || CapacityFactor == 0,
            $"The capacity of a router of RouterKind.{kind} is its rule: leave out the capacity factor, got {CapacityFactor}.");
        Guard.That(kind != RouterKind.Hash || Vocabulary >= 1, $"A hash router maps token ids: set Vocabulary to their number, got {Vocabulary}.");
        Guard.That(kind != RouterKind.Hash || !GatingResidual, "A hash router has no logits that a gating residual could add to: leave out GatingResidual.");
        Guard.That(double.IsFinite(InputScale), $"The input scale is finite, got {InputScale}.");
        return this;
    }
}
