namespace MoeSharp.Core;

/// <summary>The routers of the papers by name, each as published, so that one word in code, in <c>config.json</c> or on the command line picks one.</summary>
/// <remarks>
/// A name is a starting point: the fields of the <see cref="RouterSpec"/> that it gives may be changed, as long as the result is still
/// what <see cref="NameOf"/> calls by that name. Null slots are part of <c>null</c> only; most others take them when asked.
/// </remarks>
public static class RouterFamily
{
    private static readonly (string Name, Func<int, int, RouterSpec> Make)[] s_members =
    [
        ("top-k", (experts, k) => new RouterSpec { Experts = experts, TopK = k }),
        ("sigmoid", (experts, k) => new RouterSpec { Experts = experts, TopK = k, Score = ScoreFunction.Sigmoid }),
        ("top-p", RouterSpec.WithTopP),
        ("null", (experts, k) => RouterSpec.WithNulls(experts, k, rho: 0.5) with { SelectionBias = SelectionBias.Logit }),
        ("threshold", (experts, k) => RouterSpec.WithThreshold(experts, threshold: 0.9, k)),
        ("relu", RouterSpec.WithRelu),
        ("vq", RouterSpec.WithCodes),
        ("noisy-top-k", RouterSpec.WithNoise),
        ("expert-choice", RouterSpec.WithExpertChoice),
        ("cosine", (experts, k) => new RouterSpec { Kind = RouterKind.Cosine, Experts = experts, TopK = k }),
        ("hash", RouterSpec.WithHash),
        ("loss-free", RouterSpec.WithLoadBias),
    ];

    /// <summary>All names.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. s_members.Select(member => member.Name)];

    /// <summary>The spec of a member.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="experts">Real experts E.</param>
    /// <param name="topK">Slots K per token, or what the member makes of it: the most that a token may fill, or the mean.</param>
    /// <exception cref="ArgumentException">There is no such member, or the numbers do not fit it.</exception>
    public static RouterSpec Make(string name, int experts, int topK)
    {
        int member = Array.FindIndex(s_members, item => item.Name == name);
        Guard.That(member >= 0, $"There is no router '{name}'; there are {string.Join(", ", Names)}.");
        return s_members[member].Make(experts, topK).Validate();
    }

    /// <summary>Which member a spec belongs to.</summary>
    public static string NameOf(RouterSpec spec)
    {
        ArgumentNullException.ThrowIfNull(spec);
        return spec switch
        {
            { Codebook: not null } => "vq",
            { Kind: RouterKind.Cosine } => "cosine",
            { Kind: RouterKind.Hash } => "hash",
            { Kind: RouterKind.NoisyTopK } => "noisy-top-k",
            { Kind: RouterKind.ExpertChoice } => "expert-choice",
            { Score: ScoreFunction.Relu } => "relu",
            { Selection: Selection.Threshold } => spec.BalanceLoad == BalanceLoad.Top1 ? "threshold" : "top-p",
            { SelectionBias: SelectionBias.Score } => "loss-free",
            { Score: ScoreFunction.Sigmoid } => "sigmoid",
            { NullSlots: > 0 } => "null",
            _ => "top-k",
        };
    }
}
