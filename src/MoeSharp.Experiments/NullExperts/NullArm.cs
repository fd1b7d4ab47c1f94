using System.Globalization;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>An arm of the null-expert experiment: K slots of which the share rho is meant to be real.</summary>
internal sealed record NullArm : Arm
{
    /// <summary>Share of slots that are meant to be real.</summary>
    public required double Rho { get; init; }

    /// <summary>Whether the null-rate controller holds that share.</summary>
    public bool IsControlled { get; init; }

    /// <summary>An arm.</summary>
    public static NullArm Make(
        int experts, int expertWidth, int slots, double rho, IReadOnlyList<double> weights, ArmRole role, bool renormalize = true, bool controlled = false)
    {
        RouterSpec router = RouterSpec.WithNulls(experts, slots, rho) with
        {
            Renormalize = renormalize ? Renormalize.ChosenExceptZero : Renormalize.None,
            SelectionBias = controlled ? SelectionBias.Logit : SelectionBias.None,
        };
        string suffix = (renormalize ? string.Empty : "-raw") + (controlled ? "-held" : string.Empty);
        return new NullArm
        {
            Name = string.Create(CultureInfo.InvariantCulture, $"k{slots}-rho{rho:0.##}{suffix}"),
            Label = string.Create(CultureInfo.InvariantCulture, $"K{slots} ρ={rho:0.##}{(renormalize ? string.Empty : " raw weights")}{(controlled ? " held" : string.Empty)}"),
            Role = role,
            Router = router,
            ExpertWidth = expertWidth,
            Weights = weights,
            Rho = rho,
            IsControlled = controlled,
            Budget = slots * rho,
        };
    }

    /// <summary>The family at two expected real experts, the control with more compute, and the variants that are asked for.</summary>
    public static IReadOnlyList<Arm> Family(int experts, int expertWidth, IReadOnlyList<double> weights, bool variants)
    {
        const double TwoThirds = 2.0 / 3;
        NullArm[] family =
        [
            Make(experts, expertWidth, 2, 1, weights, ArmRole.Baseline),
            Make(experts, expertWidth, 3, TwoThirds, weights, ArmRole.Method),
            Make(experts, expertWidth, 4, 0.5, weights, ArmRole.Method),
            Make(experts, expertWidth, 8, 0.25, weights, ArmRole.Method),
            Make(experts, expertWidth, 3, 1, weights, ArmRole.Control),
        ];
        return !variants ? family :
        [
            .. family,
            Make(experts, expertWidth, 4, 0.5, weights, ArmRole.Control, renormalize: false),
            Make(experts, expertWidth, 4, 0.5, weights, ArmRole.Control, controlled: true),
        ];
    }
}
