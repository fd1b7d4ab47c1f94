using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>Routers of every family and every combination of rules that behaves differently.</summary>
public static class RouterSpecs
{
    private static readonly NullGroup[] s_mixed =
        [new(NullKind.Zero, 1), new(NullKind.Identity, 1), new(NullKind.Constant, 2)];

    /// <summary>Name and spec.</summary>
    public static IReadOnlyDictionary<string, RouterSpec> All { get; } = new Dictionary<string, RouterSpec>
    {
        ["olmoe"] = new() { Experts = 13, TopK = 3, Renormalize = Renormalize.None },
        ["mixtral"] = new() { Experts = 8, TopK = 2, Renormalize = Renormalize.Chosen },
        ["one expert"] = new() { Experts = 1, TopK = 1 },
        ["all chosen"] = new() { Experts = 5, TopK = 9, Nulls = [new(NullKind.Zero, 4)], SharedNullLogit = false },
        ["null experts"] = RouterSpec.WithNulls(8, 4, 0.5),
        ["null experts, many copies"] = RouterSpec.WithNulls(16, 4, 0.05),
        ["null experts, fewer copies than slots"] = RouterSpec.WithNulls(8, 6, 0.8),
        ["null experts, average balance"] = RouterSpec.WithNulls(8, 4, 0.5) with { NullBalance = NullBalance.Average, SharedNullLogit = false },
        ["null experts, chosen"] = RouterSpec.WithNulls(8, 4, 0.5) with { Renormalize = Renormalize.Chosen, Scale = 1.5 },
        ["null experts, raw"] = RouterSpec.WithNulls(8, 4, 0.5) with { Renormalize = Renormalize.None },
        ["null-rate controller"] = RouterSpec.WithNulls(8, 4, 0.5) with { SelectionBias = SelectionBias.Logit },
        ["adamoe"] = RouterSpec.WithNulls(6, 3, 0.5) with { SharedNullLogit = false },
        ["longcat"] = new()
        {
            Experts = 12, TopK = 4, Nulls = [new(NullKind.Identity, 6)], SharedNullLogit = false, Renormalize = Renormalize.None, Scale = 6,
            SelectionBias = SelectionBias.Score,
        },
        ["moe++"] = new() { Experts = 6, TopK = 3, Nulls = s_mixed, SharedNullLogit = false },
        ["mixed nulls, shared"] = new()
        {
            Experts = 6, TopK = 4, Nulls = [new(NullKind.Zero, 3), new(NullKind.Identity, 2)], Renormalize = Renormalize.Chosen,
            NullBalance = NullBalance.Average,
        },
        ["deepseek-v2"] = new() { Experts = 16, TopK = 3, Renormalize = Renormalize.None, Scale = 16, GroupCount = 4, GroupsKept = 2 },
        ["deepseek-v3"] = new()
        {
            Experts = 16, TopK = 4, Score = ScoreFunction.Sigmoid, Renormalize = Renormalize.Chosen, Scale = 2.5, GroupCount = 4, GroupsKept = 2,
            GroupScore = GroupScore.TopTwoSum, SelectionBias = SelectionBias.Score,
        },
        ["groups of one"] = new() { Experts = 6, TopK = 2, Score = ScoreFunction.Sigmoid, GroupCount = 6, GroupsKept = 3, GroupScore = GroupScore.TopTwoSum },
        ["groups and nulls"] = RouterSpec.WithNulls(8, 4, 0.5) with { GroupCount = 4, GroupsKept = 1, Score = ScoreFunction.Sigmoid },
        ["sigmoid, raw"] = RouterSpec.WithNulls(8, 4, 0.5) with { Score = ScoreFunction.Sigmoid, Renormalize = Renormalize.None },
        ["sigmoid, chosen"] = RouterSpec.WithNulls(8, 4, 0.5) with { Score = ScoreFunction.Sigmoid, Renormalize = Renormalize.Chosen, NormalizeEpsilon = 1e-3 },
        ["sigmoid, except zero"] = RouterSpec.WithNulls(8, 4, 0.5) with { Score = ScoreFunction.Sigmoid, SelectionBias = SelectionBias.Logit },
        ["sigmoid, mixed nulls"] = new()
        {
            Experts = 5, TopK = 4, Nulls = s_mixed, Score = ScoreFunction.Sigmoid, NullBalance = NullBalance.Average,
        },
        ["threshold"] = RouterSpec.WithThreshold(12, 0.6, 6),
        ["threshold, nulls, chosen"] = RouterSpec.WithNulls(8, 5, 0.5) with
        {
            Selection = Selection.Threshold, Threshold = 0.45, Renormalize = Renormalize.Chosen, BalanceLoad = BalanceLoad.Top1, NullBalance = NullBalance.Average,
            SelectionBias = SelectionBias.Logit,
        },
        ["threshold, mixed nulls"] = new()
        {
            Experts = 6, TopK = 5, Nulls = s_mixed, SharedNullLogit = false, Selection = Selection.Threshold, Threshold = 0.7,
        },
        ["threshold of 1"] = RouterSpec.WithThreshold(5, 1, 5),
        ["relu"] = RouterSpec.WithRelu(12, 5),
        ["relu, nulls, chosen"] = RouterSpec.WithNulls(8, 6, 0.5) with
        {
            Score = ScoreFunction.Relu, Renormalize = Renormalize.Chosen, NormalizeEpsilon = 1e-3, BalanceLoad = BalanceLoad.Top1,
        },
        ["many experts"] = new() { Experts = 130, TopK = 8, Nulls = [new(NullKind.Zero, 300)], Renormalize = Renormalize.ChosenExceptZero },
    };
}
