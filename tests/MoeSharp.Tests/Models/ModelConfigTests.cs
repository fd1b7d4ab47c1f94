using System.Text.Json.Nodes;
using MoeSharp.Core;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

public sealed class ModelConfigTests
{
    private static readonly ModelConfig s_tiny = Presets.Get("tiny").Model;

    [Fact]
    public void ToJson_UsesTheNamesOfHuggingFace()
    {
        JsonObject json = JsonNode.Parse(s_tiny.ToJson())!.AsObject();
        Assert.Equal(32, (int)json["hidden_size"]!);
        Assert.Equal(2, (int)json["num_hidden_layers"]!);
        Assert.Equal(2, (int)json["num_attention_heads"]!);
        Assert.Equal(1, (int)json["num_key_value_heads"]!);
        Assert.Equal(16, (int)json["head_dim"]!);
        Assert.Equal(4, (int)json["num_experts"]!);
        Assert.Equal(2, (int)json["num_experts_per_tok"]!);
        Assert.Equal(16, (int)json["moe_intermediate_size"]!);
        Assert.Equal(32, (int)json["max_position_embeddings"]!);
        Assert.Equal(0.5, (double)json["data_sparsity"]!);
        Assert.Equal(4, (int)json["null_slots"]!);
    }

    [Fact]
    public void FromJson_GivesBackEveryField()
    {
        ModelConfig config = s_tiny with
        {
            VocabularySize = 300, HiddenSize = 40, DataSparsity = 0.25, NullKind = NullKind.Identity, SharedNullLogit = false,
            Score = ScoreFunction.Sigmoid, Renormalize = Renormalize.None, SelectionBias = SelectionBias.Score, SharedExpertWidth = 24,
            RopeTheta = 500000, RmsNormEpsilon = 1e-6, TieEmbeddings = false, Threshold = 0.75, RoutedScale = 2.5, BalanceLoad = BalanceLoad.Top1,
        };
        Assert.Equal(config, ModelConfig.FromJson(config.ToJson(), "config.json"));
    }

    [Fact]
    public void FromJson_ThresholdRouter_IsWhatWasWritten()
    {
        ModelConfig config = s_tiny with { Selection = Selection.Threshold, Threshold = 0.6 };
        ModelConfig read = ModelConfig.FromJson(config.ToJson(), "config.json");
        Assert.Equal((Selection.Threshold, 0.6), (read.Router.Selection, read.Router.Threshold));
    }

    [Fact]
    public void FromJson_DenseModel_IsWhatWasWritten()
    {
        ModelConfig config = s_tiny with { DenseWidth = 48, Experts = 0, ExpertWidth = 0, TopK = 0 };
        JsonObject json = JsonNode.Parse(config.ToJson())!.AsObject();
        Assert.Equal(48, (int)json["intermediate_size"]!);
        Assert.DoesNotContain("num_experts", json.Select(field => field.Key));
        Assert.Equal(config, ModelConfig.FromJson(config.ToJson(), "config.json"));
        Assert.Equal((true, 0, 0), (config.IsDense, config.MoeLayers, config.NullSlots));
        Assert.Equal("A dense model has no router.", Assert.Throws<InvalidOperationException>(() => config.Router).Message);
    }

    [Fact]
    public void Validate_DenseWidthBesideExperts_IsRefused() => Assert.Equal(
        "A dense model has no experts: set Experts, ExpertWidth, TopK and SharedExpertWidth to 0, got 4, 16, 2 and 0, or DenseWidth, which is 48.",
        Assert.Throws<ArgumentException>(() => (s_tiny with { DenseWidth = 48 }).Validate()).Message);

    [Fact]
    public void FromJson_IgnoresAndListsUnknownFields()
    {
        string json = Edit("dropout", 0.1);
        ModelConfig config = ModelConfig.FromJson(json, "config.json");
        Assert.Equal(["dropout"], config.UnknownFields);
        Assert.Equal(s_tiny, config with { UnknownFields = [] });
    }

    [Theory]
    [InlineData("hidden_size", 0)]
    [InlineData("hidden_size", "many")]
    [InlineData("hidden_size", 32.5)]
    [InlineData("num_key_value_heads", 3)]
    [InlineData("head_dim", 15)]
    [InlineData("num_experts_per_tok", 99)]
    [InlineData("data_sparsity", 0)]
    [InlineData("data_sparsity", 1.5)]
    [InlineData("null_slots", 5)]
    [InlineData("null_kind", "nothing")]
    [InlineData("score", 1)]
    [InlineData("tie_word_embeddings", "yes")]
    [InlineData("rope_theta", -1)]
    [InlineData("max_position_embeddings", 9999999999L)]
    public void FromJson_RefusesABadValueAndNamesFileAndField(string field, object value)
    {
        string message = Assert.Throws<CheckpointFormatException>(() => ModelConfig.FromJson(Edit(field, value), "/x/config.json")).Message;
        Assert.Contains("/x/config.json", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("hidden_size")]
    [InlineData("num_hidden_layers")]
    [InlineData("num_experts")]
    [InlineData("model_type")]
    public void FromJson_RefusesAMissingField(string field)
    {
        JsonObject json = JsonNode.Parse(s_tiny.ToJson())!.AsObject();
        json.Remove(field);
        string message = Assert.Throws<CheckpointFormatException>(() => ModelConfig.FromJson(json.ToJsonString(), "c")).Message;
        Assert.Contains($"'{field}' is missing", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{")]
    [InlineData("""{"model_type":"moesharp","model_type":"moesharp"}""")]
    public void FromJson_RefusesWhatIsNoObject(string text) =>
        Assert.Throws<CheckpointFormatException>(() => ModelConfig.FromJson(text, "c"));

    [Fact]
    public void FromJson_OfAnotherArchitecture_NamesWhatIsSupported()
    {
        string message = Assert.Throws<UnsupportedModelException>(() => ModelConfig.FromJson(Edit("model_type", "llama"), "c")).Message;
        Assert.Contains("llama", message, StringComparison.Ordinal);
        Assert.Contains("moesharp", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Router_FollowsTheFields()
    {
        RouterSpec router = s_tiny.Router;
        Assert.Equal(4, router.NullSlots);
        Assert.Equal(5, router.Columns);
        Assert.Empty((s_tiny with { DataSparsity = 1 }).Router.Nulls);
    }

    [Theory]
    [InlineData("tiny")]
    [InlineData("small")]
    [InlineData("medium")]
    public void Presets_AreValidAndSurviveTheirFile(string name)
    {
        TrainOptions options = Presets.Get(name) with { Data = ["a", "b/**/*.cs"], Seed = ulong.MaxValue };
        Assert.Equal(name, options.Validate().Preset);
        Assert.Equal(options.ToJson(), TrainOptions.FromJson(options.ToJson(), "train.json").ToJson());
    }

    [Fact]
    public void Presets_Get_RefusesAnUnknownName() =>
        Assert.Contains("tiny, small, medium", Assert.Throws<ArgumentException>(() => Presets.Get("huge")).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("batch_size", 0)]
    [InlineData("steps", -1)]
    [InlineData("seed", "-1")]
    [InlineData("peak_learning_rate", "fast")]
    [InlineData("data", "file.txt")]
    public void TrainOptions_FromJson_RefusesABadValue(string field, object value)
    {
        JsonObject json = JsonNode.Parse(Presets.Get("tiny").ToJson())!.AsObject();
        json[field] = JsonValue.Create(value);
        string message = Assert.Throws<CheckpointFormatException>(() => TrainOptions.FromJson(json.ToJsonString(), "t")).Message;
        Assert.Contains($"'{field}'", message, StringComparison.Ordinal);
    }

    [Fact]
    public void TrainOptions_Validate_RefusesAControllerWithoutItsBias()
    {
        TrainOptions options = Presets.Get("tiny");
        options = options with { Model = options.Model with { SelectionBias = SelectionBias.None } };
        Assert.Throws<ArgumentException>(() => options.Validate());
        Assert.NotNull((options with { NullControllerRate = 0 }).Validate());
    }

    private static string Edit(string field, object value)
    {
        JsonObject json = JsonNode.Parse(s_tiny.ToJson())!.AsObject();
        json[field] = JsonValue.Create(value);
        return json.ToJsonString();
    }
}
