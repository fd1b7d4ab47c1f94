using System.Text.Json;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>The JSON form of <see cref="ModelConfig"/>.</summary>
internal static class ModelConfigJson
{
    private static readonly (string Spelling, NullKind Value)[] s_nullKinds =
        [("zero", NullKind.Zero), ("identity", NullKind.Identity), ("constant", NullKind.Constant)];

    private static readonly (string Spelling, ScoreFunction Value)[] s_scores =
        [("softmax", ScoreFunction.Softmax), ("sigmoid", ScoreFunction.Sigmoid), ("relu", ScoreFunction.Relu)];

    private static readonly (string Spelling, Selection Value)[] s_selections = [("top_k", Selection.TopK), ("threshold", Selection.Threshold)];

    private static readonly (string Spelling, BalanceLoad Value)[] s_loads = [("all_slots", BalanceLoad.AllSlots), ("top_1", BalanceLoad.Top1)];

    private static readonly (string Spelling, Renormalize Value)[] s_renormalize =
        [("none", Renormalize.None), ("chosen", Renormalize.Chosen), ("chosen_except_zero", Renormalize.ChosenExceptZero)];

    private static readonly (string Spelling, SelectionBias Value)[] s_biases =
        [("none", SelectionBias.None), ("score", SelectionBias.Score), ("logit", SelectionBias.Logit)];

    private static readonly (string Spelling, string? Value)[] s_routers = [.. RouterFamily.Names.Select(name => (name, (string?)name))];

    public static string Write(ModelConfig config) => JsonText.Indented(json => WriteFields(json, config));

    /// <summary>Writes one object with all fields.</summary>
    public static void WriteFields(Utf8JsonWriter json, ModelConfig config)
    {
        json.WriteStartObject();
        json.WriteString("model_type", config.ModelType);
        json.WriteNumber("vocab_size", config.VocabularySize);
        json.WriteNumber("hidden_size", config.HiddenSize);
        json.WriteNumber("num_hidden_layers", config.Layers);
        json.WriteNumber("num_attention_heads", config.Heads);
        json.WriteNumber("num_key_value_heads", config.KeyValueHeads);
        json.WriteNumber("head_dim", config.HeadDim);
        json.WriteNumber("max_position_embeddings", config.ContextLength);
        json.WriteNumber("rope_theta", config.RopeTheta);
        json.WriteNumber("rms_norm_eps", config.RmsNormEpsilon);
        json.WriteBoolean("tie_word_embeddings", config.TieEmbeddings);
        if (config.IsDense)
        {
            json.WriteNumber("intermediate_size", config.DenseWidth);
        }
        else
        {
            WriteExperts(json, config);
        }

        json.WriteEndObject();
    }

    public static ModelConfig Read(string text, string file)
    {
        using JsonDocument document = JsonFields.Parse(text, file);
        return Read(new JsonFields(document.RootElement, file), file);
    }

    public static ModelConfig Read(JsonFields fields, string file)
    {
        string type = fields.Text("model_type");
        if (type != ModelConfig.MoeSharpType)
        {
            throw new UnsupportedModelException($"{file}: model_type '{type}' is not implemented; supported: {ModelConfig.MoeSharpType}.");
        }

        int heads = fields.Int("num_attention_heads", 1);
        int hidden = fields.Int("hidden_size", 1);
        var shape = new ModelConfig
        {
            ModelType = type,
            VocabularySize = fields.Int("vocab_size", 1, 256),
            HiddenSize = hidden,
            Layers = fields.Int("num_hidden_layers", 1),
            Heads = heads,
            KeyValueHeads = fields.Int("num_key_value_heads", 1, heads),
            HeadDim = fields.Int("head_dim", 2, Math.Max(2, hidden / heads)),
            ContextLength = fields.Int("max_position_embeddings", 2),
            RopeTheta = fields.Number("rope_theta", x => x > 0, "a positive number", 10000),
            RmsNormEpsilon = fields.Number("rms_norm_eps", x => x > 0, "a positive number", 1e-5),
            TieEmbeddings = fields.Boolean("tie_word_embeddings", true),
        };
        try
        {
            bool dense = !fields.Has("num_experts") && fields.Has("intermediate_size");
            ModelConfig config = (dense ? shape with { DenseWidth = fields.Int("intermediate_size", 1) } : Experts(fields, shape)).Validate();
            return fields.Unread.Count == 0 ? config : config with { UnknownFields = fields.Unread };
        }
        catch (Exception error) when (error is ArgumentException or OverflowException)
        {
            throw new CheckpointFormatException($"{file}: {error.Message}", error);
        }
    }

    private static void WriteExperts(Utf8JsonWriter json, ModelConfig config)
    {
        json.WriteNumber("num_experts", config.Experts);
        json.WriteNumber("num_experts_per_tok", config.TopK);
        json.WriteNumber("moe_intermediate_size", config.ExpertWidth);
        json.WriteNumber("shared_expert_intermediate_size", config.SharedExpertWidth);
        json.WriteNumber("data_sparsity", config.DataSparsity);
        json.WriteNumber("null_slots", config.NullSlots);
        json.WriteString("null_kind", Spell(s_nullKinds, config.NullKind));
        json.WriteBoolean("shared_null_logit", config.SharedNullLogit);
        json.WriteString("router", RouterFamily.NameOf(config.Router));
        json.WriteBoolean("gating_residual", config.GatingResidual);
        if (config.Codebook is { } codebook)
        {
            CodebookJson.Write(json, codebook);
        }

        json.WriteString("selection", Spell(s_selections, config.Selection));
        json.WriteNumber("threshold", config.Threshold);
        json.WriteString("balance_load", Spell(s_loads, config.BalanceLoad));
        json.WriteString("score", Spell(s_scores, config.Score));
        json.WriteNumber("routed_scaling_factor", config.RoutedScale);
        json.WriteString("renormalize", Spell(s_renormalize, config.Renormalize));
        json.WriteString("selection_bias", Spell(s_biases, config.SelectionBias));
    }

    /// <summary>A model with experts: their shape, the named router, and the routing fields that differ from it.</summary>
    private static ModelConfig Experts(JsonFields fields, ModelConfig shape)
    {
        string? router = fields.Choice("router", s_routers, null);
        shape = shape with
        {
            Experts = fields.Int("num_experts", 1),
            TopK = fields.Int("num_experts_per_tok", 1),
            ExpertWidth = fields.Int("moe_intermediate_size", 1),
            SharedExpertWidth = fields.Int("shared_expert_intermediate_size", 0, 0),
            SelectionBias = SelectionBias.None,
            DataSparsity = 1,
        };
        ModelConfig config = Routing(fields, router is null ? shape : shape.WithRouter(router)).Validate();
        long nulls = fields.Integer("null_slots", 0, int.MaxValue, config.NullSlots);
        Guard.That(
            nulls == config.NullSlots,
            $"null_slots is {nulls}, but data_sparsity {config.DataSparsity} with {config.Experts} experts means {config.NullSlots}.");
        string described = RouterFamily.NameOf(config.Router);
        Guard.That(
            router is null || router == described,
            $"'router' is \"{router}\", but the other routing fields describe \"{described}\"; leave out those that contradict it, or name that router.");
        return config;
    }

    /// <summary>The routing fields over what the named router, or none, starts from.</summary>
    private static ModelConfig Routing(JsonFields fields, ModelConfig start) => start with
    {
        DataSparsity = fields.Number("data_sparsity", x => x is > 0 and <= 1, "a number in (0, 1]", start.DataSparsity),
        NullKind = fields.Choice("null_kind", s_nullKinds, start.NullKind),
        SharedNullLogit = fields.Boolean("shared_null_logit", start.SharedNullLogit),
        Codebook = start.Codebook is null ? null : CodebookJson.Read(fields, start.Codebook),
        GatingResidual = fields.Boolean("gating_residual", start.GatingResidual),
        Selection = fields.Choice("selection", s_selections, start.Selection),
        Threshold = fields.Number("threshold", x => x is > 0 and <= 1, "a number in (0, 1]", start.Threshold),
        BalanceLoad = fields.Choice("balance_load", s_loads, start.BalanceLoad),
        Score = fields.Choice("score", s_scores, start.Score),
        RoutedScale = fields.Number("routed_scaling_factor", _ => true, "a number", start.RoutedScale),
        Renormalize = fields.Choice("renormalize", s_renormalize, start.Renormalize),
        SelectionBias = fields.Choice("selection_bias", s_biases, start.SelectionBias),
    };

    private static string Spell<T>((string Spelling, T Value)[] names, T value) =>
        Array.Find(names, name => EqualityComparer<T>.Default.Equals(name.Value, value)).Spelling;
}
