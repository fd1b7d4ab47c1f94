using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>Gate and dispatch beyond what fits a warp, a block or one pass over the chunks: few tokens, many columns, slots or chunks.</summary>
public sealed class RoutingLimitCases : ICatalog
{
    private static readonly (string Name, RouterSpec Spec)[] s_wide =
    [
        ("K of two warps", new() { Experts = 70, TopK = 40 }),
        ("all of many copies", new() { Experts = 5, TopK = 55, Nulls = [new(NullKind.Zero, 20), new(NullKind.Identity, 30)], Renormalize = Renormalize.None }),
        ("eight null groups", new() { Experts = 3, TopK = 9, Nulls = [.. Enumerable.Range(1, 8).Select(i => new NullGroup((NullKind)(i % 3), i))] }),
        ("700 experts", new() { Experts = 700, TopK = 33, Nulls = [new(NullKind.Zero, 700)] }),
        ("1500 null logits", new() { Experts = 300, TopK = 8, Nulls = [new(NullKind.Zero, 1500)], SharedNullLogit = false }),
        ("40 groups", new() { Experts = 2480, TopK = 12, Score = ScoreFunction.Sigmoid, GroupCount = 40, GroupsKept = 7, GroupScore = GroupScore.TopTwoSum }),
        ("9000 experts", new() { Experts = 9000, TopK = 4, Nulls = [new(NullKind.Zero, 3)] }),
    ];

    public static IReadOnlyList<OpCase> All { get; } =
    [
        .. from wide in s_wide
           from op in (OpCase[])[GateCases.Gate(wide.Name, wide.Spec, 3), GateCases.GateBackward(wide.Name, wide.Spec, 3)]
           select op,
        .. Dispatch(33_000, 1, 3), .. Dispatch(300, 2, 6000), .. Dispatch(600, 40, 70), .. Dispatch(4200, 2, 33),
    ];

    public static IReadOnlyList<OpCase> Large { get; } = [];

    private static IEnumerable<OpCase> Dispatch(int tokens, int topK, int experts)
    {
        string name = $"T{tokens} K{topK} E{experts}";
        var routing = Routing.From(tokens, topK, experts, Draw.Integers(name, tokens * topK, 2 * experts), Draw.Normals(name, tokens * topK));
        return [DispatchCases.Dispatch(name, routing), DispatchCases.Dispatch(name, routing, counted: true)];
    }
}
