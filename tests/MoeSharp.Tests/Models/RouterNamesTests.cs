using System.Text.Json.Nodes;
using MoeSharp.Core;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>One word picks a router: in code, in config.json; and what contradicts it gets a sentence.</summary>
public sealed class RouterNamesTests
{
    private static readonly ModelConfig s_tiny = Presets.Get("tiny").Model;

    public static TheoryData<string> Names => [.. RouterFamily.Names];

    [Theory]
    [MemberData(nameof(Names))]
    public void Make_GivesASpecThatIsCalledByItsName(string name) =>
        Assert.Equal(name, RouterFamily.NameOf(RouterFamily.Make(name, experts: 6, topK: 2)));

    [Theory]
    [MemberData(nameof(Names))]
    public void ConfigJson_OneLine_IsTheRouterOfThePaper(string name)
    {
        JsonObject json = Bare();
        json["router"] = name;
        ModelConfig config = ModelConfig.FromJson(json.ToJsonString(), "config.json");
        Assert.Equal(s_tiny.WithRouter(name) with { UnknownFields = [] }, config);
        Assert.Equal(config, ModelConfig.FromJson(config.ToJson(), "config.json"));
        RouterSpec spec = RouterFamily.Make(name, s_tiny.Experts, s_tiny.TopK);
        Assert.Equal(spec with { Nulls = [], Threshold = 1 }, config.Router with { Nulls = [], Threshold = 1 });
        Assert.Equal(spec.NullSlots, config.NullSlots);
    }

    [Theory]
    [InlineData("relu", "score", "softmax", "describe \"top-k\"")]
    [InlineData("top-k", "data_sparsity", "0.5", "describe \"null\"")]
    [InlineData("null", "data_sparsity", "1", "describe \"top-k\"")]
    [InlineData("loss-free", "selection_bias", "none", "describe \"sigmoid\"")]
    [InlineData("threshold", "threshold", "0", "(0, 1]")]
    [InlineData("top-k", "num_experts_per_tok", "99", "top-k is 1..4")]
    [InlineData("null", "data_sparsity", "0", "(0, 1]")]
    [InlineData("threshold", "num_experts_per_tok", "0", "num_experts_per_tok")]
    [InlineData("expert-choice", "data_sparsity", "0.5", "An expert-choice router")]
    [InlineData("hash", "score", "softmax", "A hash router")]
    [InlineData("noisy-top-k", "selection", "threshold", "A noisy top-k router")]
    [InlineData("noisy-top-k", "renormalize", "none", "A noisy top-k router")]
    [InlineData("nonsense", "score", "softmax", "one of \"top-k\"")]
    public void ConfigJson_Contradiction_IsOneSentence(string router, string field, string value, string message)
    {
        JsonObject json = Bare();
        json["router"] = router;
        json[field] = double.TryParse(value, out double number) ? number : value;
        CheckpointFormatException error = Assert.Throws<CheckpointFormatException>(() => ModelConfig.FromJson(json.ToJsonString(), "c.json"));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.StartsWith("c.json: ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Make_UnknownName_ListsTheMembers() =>
        Assert.Contains("there are top-k, sigmoid", Assert.Throws<ArgumentException>(() => RouterFamily.Make("best", 4, 2)).Message, StringComparison.Ordinal);

    /// <summary>The fields that say nothing about routing.</summary>
    private static JsonObject Bare()
    {
        JsonObject json = JsonNode.Parse(s_tiny.ToJson())!.AsObject();
        string[] routing =
        [
            "router", "gating_residual", "data_sparsity", "null_slots", "null_kind", "shared_null_logit", "selection", "threshold", "balance_load",
            "score", "renormalize", "selection_bias",
        ];
        Array.ForEach(routing, name => json.Remove(name));
        return json;
    }
}
