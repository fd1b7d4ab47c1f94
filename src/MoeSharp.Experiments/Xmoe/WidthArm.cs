using System.Globalization;
using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Experiments;

/// <summary>An arm of the XMoE experiment: N experts that share one total width, and how a token chooses among them.</summary>
/// <remarks>Both kinds of router weigh by raw probabilities and balance the best expert of each token, as the paper has it for its own router and for the baseline.</remarks>
internal sealed record WidthArm : Arm
{
    /// <summary>Width of all experts of a layer together.</summary>
    public const int TotalWidth = 512;

    /// <summary>A fixed number of experts per token.</summary>
    public static WidthArm TopK(int experts, int k, IReadOnlyList<double> weights, ArmRole role, bool renormalize = false)
    {
        RouterSpec router = new()
        {
            Experts = experts, TopK = k, Renormalize = renormalize ? Renormalize.Chosen : Renormalize.None, BalanceLoad = BalanceLoad.Top1,
        };
        string suffix = renormalize ? "-renorm" : string.Empty;
        return Make($"top{k}-{experts}x{TotalWidth / experts}{suffix}", $"top-{k} {experts}×{TotalWidth / experts}{(renormalize ? " renormalised" : string.Empty)}", router, weights, role);
    }

    /// <summary>The fewest experts whose probabilities reach a mass.</summary>
    public static WidthArm Threshold(int experts, double mass, IReadOnlyList<double> weights)
    {
        string text = mass.ToString(CultureInfo.InvariantCulture);
        return Make(
            $"t{text}-{experts}x{TotalWidth / experts}", $"t={text} {experts}×{TotalWidth / experts}", RouterSpec.WithThreshold(experts, mass, experts), weights, ArmRole.Method);
    }

    /// <summary>A language model with this arm's experts in every layer.</summary>
    public ModelConfig Config(ModelConfig dense) => dense with
    {
        DenseWidth = 0,
        Experts = Router.Experts,
        ExpertWidth = ExpertWidth,
        TopK = Router.TopK,
        DataSparsity = 1,
        Selection = Router.Selection,
        Threshold = Router.Threshold,
        BalanceLoad = Router.BalanceLoad,
        Renormalize = Router.Renormalize,
        SelectionBias = SelectionBias.None,
    };

    private static WidthArm Make(string name, string label, RouterSpec router, IReadOnlyList<double> weights, ArmRole role) => new()
    {
        Name = name, Label = label, Role = role, Router = router, ExpertWidth = TotalWidth / router.Experts, Weights = weights,
    };
}
