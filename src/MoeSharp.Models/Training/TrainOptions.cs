using System.Text.Json;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Which tokens the expert loads of the balance loss are counted over when gradients are accumulated.</summary>
public enum BalanceScope
{
    /// <summary>All tokens of the step, as if it were one batch; costs one forward pass more per micro-batch but the first (<see cref="Autograd.GlobalBalance"/>).</summary>
    Step,

    /// <summary>The tokens of each micro-batch by itself: cheaper, and every micro-batch is pulled to the same mix of experts.</summary>
    MicroBatch,
}

/// <summary>Everything that determines a training run; kept in <c>train.json</c>. <see cref="Presets"/> makes complete ones.</summary>
public sealed record TrainOptions
{
    private static readonly (string Spelling, BalanceScope Value)[] s_balanceScopes =
        [("step", BalanceScope.Step), ("micro_batch", BalanceScope.MicroBatch)];

    private static readonly (string Spelling, DType Value)[] s_floatTypes = [("fp32", DType.Float32), ("bf16", DType.BFloat16)];

    /// <summary>The model.</summary>
    public required ModelConfig Model { get; init; }

    /// <summary>Where the run is kept. Not part of the file: a run folder can be moved.</summary>
    public string RunFolder { get; init; } = string.Empty;

    /// <summary>Text files, folders or globs.</summary>
    public IReadOnlyList<string> Data { get; init; } = [];

    /// <summary>Sequences per micro-batch.</summary>
    public int BatchSize { get; init; } = 8;

    /// <summary>Micro-batches per step; their gradients are averaged.</summary>
    public int AccumulationSteps { get; init; } = 1;

    /// <summary>Optimizer steps.</summary>
    public long Steps { get; init; } = 1000;

    /// <summary>Learning rate after the warm-up.</summary>
    public double PeakLearningRate { get; init; } = 3e-3;

    /// <summary>Learning rate at the end (cosine).</summary>
    public double FloorLearningRate { get; init; } = 3e-4;

    /// <summary>Steps of linear warm-up; a shorter run is all warm-up.</summary>
    public long WarmupSteps { get; init; } = 50;

    /// <summary>Decoupled weight decay.</summary>
    public double WeightDecay { get; init; } = 0.1;

    /// <summary>Largest gradient norm; 0 for no clipping.</summary>
    public double ClipNorm { get; init; } = 1;

    /// <summary>Weight of the balance loss (2e-2 in arXiv 2601.15370).</summary>
    public double BalanceWeight { get; init; } = 2e-2;

    /// <summary>Over which tokens the balance loss counts the loads; no difference with one micro-batch per step.</summary>
    public BalanceScope BalanceScope { get; init; } = BalanceScope.Step;

    /// <summary>Weight of the z-loss (1e-3 in arXiv 2601.15370).</summary>
    public double ZLossWeight { get; init; } = 1e-3;

    /// <summary>Rate of the null-rate controller; 0 switches it off. It needs <see cref="SelectionBias.Logit"/>.</summary>
    public double NullControllerRate { get; init; } = 0.1;

    /// <summary>Weight of the loss of the codebooks (VQMoE); 0.08 in arXiv 2411.19402. Without codebooks it is not used.</summary>
    public double CodeWeight { get; init; } = 0.08;

    /// <summary>Step of the load bias that balances without a loss (0.001 in arXiv 2408.15664); 0 switches it off. It needs a selection bias.</summary>
    public double LoadBiasRate { get; init; }

    /// <summary>Steps over which a threshold router's mass rises to that of the model (<see cref="Autograd.ThresholdAnnealing"/>); 0 for none.</summary>
    public long ThresholdSteps { get; init; }

    /// <summary>Probability mass of the first step when it rises, in (0, 1].</summary>
    public double ThresholdStart { get; init; } = 0.1;

    /// <summary>Folder whose weights the run begins with; empty for new ones. They are in the first checkpoint, so the folder is not needed afterwards.</summary>
    public string InitialModel { get; init; } = string.Empty;

    /// <summary>
    /// Mean number of experts per token that a ReLU router is held at, by letting the weight of its balance loss follow (ReMoE, arXiv 2412.14711);
    /// 0 leaves <see cref="BalanceWeight"/> as it is.
    /// </summary>
    public double TargetExperts { get; init; }

    /// <summary>Steps between evaluations on a fixed part of the validation text; 0 for none but the last.</summary>
    public long EvaluateEvery { get; init; } = 100;

    /// <summary>Bytes of validation text that the evaluations in between use, spread evenly.</summary>
    public long EvaluationBytes { get; init; } = 32 * 1024;

    /// <summary>About how many bytes the split sets aside for validation; the last evaluation uses all of them.</summary>
    public long ValidationBytes { get; init; } = TextCorpus.DefaultValidationBytes;

    /// <summary>Steps between checkpoints; 0 for the last only.</summary>
    public long SaveEvery { get; init; } = 100;

    /// <summary>Steps between lines of metrics and progress reports.</summary>
    public long LogEvery { get; init; } = 10;

    /// <summary>Seed of initial weights, batches and the sample.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Device the run was started on: cpu.</summary>
    public string Device { get; init; } = "cpu";

    /// <summary>Type of weights and activations; master weights, moments and statistics are Float32 either way.</summary>
    public DType FloatType { get; init; } = DType.Float32;

    /// <summary>Name of the preset these options came from, or <c>custom</c>.</summary>
    public string Preset { get; init; } = "custom";

    /// <summary>Bytes of text to generate at the end.</summary>
    public int SampleBytes { get; init; } = 400;

    /// <summary>Tokens that one optimizer step sees.</summary>
    public long TokensPerStep => (long)BatchSize * AccumulationSteps * Model.ContextLength;

    /// <summary>Parses <c>train.json</c>. Fields it does not know are ignored; <see cref="RunFolder"/> is left empty.</summary>
    /// <exception cref="CheckpointFormatException">Not JSON, a field is missing or out of range.</exception>
    public static TrainOptions FromJson(string json, string fileNameForErrors)
    {
        using JsonDocument document = JsonFields.Parse(json, fileNameForErrors);
        var fields = new JsonFields(document.RootElement, fileNameForErrors);
        var options = new TrainOptions
        {
            Model = ModelConfigJson.Read(fields.Object("model"), fileNameForErrors),
            Data = fields.Texts("data"),
            BatchSize = fields.Int("batch_size", 1),
            AccumulationSteps = fields.Int("accumulation_steps", 1),
            Steps = fields.Integer("steps", 0, long.MaxValue),
            PeakLearningRate = fields.Number("peak_learning_rate", x => x >= 0, "a number >= 0"),
            FloorLearningRate = fields.Number("floor_learning_rate", x => x >= 0, "a number >= 0"),
            WarmupSteps = fields.Integer("warmup_steps", 0, long.MaxValue),
            WeightDecay = fields.Number("weight_decay", x => x >= 0, "a number >= 0"),
            ClipNorm = fields.Number("clip_norm", x => x >= 0, "a number >= 0"),
            BalanceWeight = fields.Number("balance_weight", x => x >= 0, "a number >= 0"),

            // Runs from before this field balanced every micro-batch by itself, and go on so.
            BalanceScope = fields.Choice("balance_scope", s_balanceScopes, BalanceScope.MicroBatch),
            ZLossWeight = fields.Number("z_loss_weight", x => x >= 0, "a number >= 0"),
            NullControllerRate = fields.Number("null_controller_rate", x => x >= 0, "a number >= 0"),
            CodeWeight = fields.Number("code_weight", x => x >= 0, "a number >= 0", 0.08),
            LoadBiasRate = fields.Number("load_bias_rate", x => x >= 0, "a number >= 0", 0),
            ThresholdSteps = fields.Integer("threshold_steps", 0, long.MaxValue, 0),
            ThresholdStart = fields.Number("threshold_start", x => x is > 0 and <= 1, "a number in (0, 1]", 0.1),
            InitialModel = fields.Text("initial_model", string.Empty),
            TargetExperts = fields.Number("target_experts", x => x >= 0, "a number >= 0", 0),
            EvaluateEvery = fields.Integer("evaluate_every", 0, long.MaxValue),
            EvaluationBytes = fields.Integer("evaluation_bytes", 1, long.MaxValue),
            ValidationBytes = fields.Integer("validation_bytes", 1, long.MaxValue),
            SaveEvery = fields.Integer("save_every", 0, long.MaxValue),
            LogEvery = fields.Integer("log_every", 1, long.MaxValue),
            Seed = ulong.TryParse(fields.Text("seed"), out ulong seed)
                ? seed
                : throw new CheckpointFormatException($"{fileNameForErrors}: 'seed' is \"{fields.Text("seed")}\", expected digits of a 64-bit number."),
            Device = fields.Text("device"),
            FloatType = fields.Choice("dtype", s_floatTypes, DType.Float32),
            Preset = fields.Text("preset"),
            SampleBytes = fields.Int("sample_bytes", 0),
        };
        try
        {
            return options.Validate();
        }
        catch (ArgumentException error)
        {
            throw new CheckpointFormatException($"{fileNameForErrors}: {error.Message}", error);
        }
    }

    /// <summary>The text of <c>train.json</c>, indented, ending in a line feed.</summary>
    public string ToJson() => JsonText.Indented(json =>
    {
        json.WriteStartObject();
        WriteFields(json);
        json.WriteEndObject();
    });

    /// <summary>Checks every value.</summary>
    /// <returns>These options, for chaining.</returns>
    /// <exception cref="ArgumentException">A value is out of range; the message says which.</exception>
    public TrainOptions Validate()
    {
        _ = Model.Validate();
        Guard.That(FloatType is DType.Float32 or DType.BFloat16, $"Models are trained in Float32 or BFloat16, got {FloatType}.");
        Guard.That(Model.VocabularySize == 256, $"Training works on bytes: the vocabulary size is 256, got {Model.VocabularySize}.");
        Guard.That(BatchSize >= 1, $"The batch size is at least 1, got {BatchSize}.");
        Guard.That(AccumulationSteps >= 1, $"The accumulation steps are at least 1, got {AccumulationSteps}.");
        Guard.That(Steps >= 0, $"The number of steps is at least 0, got {Steps}.");
        Guard.That(WarmupSteps >= 0, $"The warm-up is at least 0 steps, got {WarmupSteps}.");
        Guard.That(LogEvery >= 1, $"The steps between log lines are at least 1, got {LogEvery}.");
        Guard.That(EvaluateEvery >= 0, $"The steps between evaluations are at least 0, got {EvaluateEvery}.");
        Guard.That(SaveEvery >= 0, $"The steps between checkpoints are at least 0, got {SaveEvery}.");
        Guard.That(EvaluationBytes >= 1, $"The evaluation bytes are at least 1, got {EvaluationBytes}.");
        Guard.That(ValidationBytes >= 1, $"The validation bytes are at least 1, got {ValidationBytes}.");
        Guard.That(SampleBytes >= 0, $"The sample is at least 0 bytes long, got {SampleBytes}.");
        Guard.That(ThresholdSteps >= 0, $"The steps of a rising threshold are at least 0, got {ThresholdSteps}.");
        Guard.That(ThresholdStart is > 0 and <= 1, $"The threshold of the first step is in (0, 1], got {ThresholdStart}.");
        Guard.That(
            ThresholdSteps == 0 || (!Model.IsDense && Model.Selection == Selection.Threshold && ThresholdStart <= Model.Threshold),
            $"A threshold that rises from {ThresholdStart} over {ThresholdSteps} steps needs a threshold router with at least that mass; set the steps to 0, or Selection.Threshold, got {(Model.IsDense ? "a dense model" : $"Selection.{Model.Selection} and {Model.Threshold}")}.");
        NotNegative(PeakLearningRate, "peak learning rate");
        NotNegative(FloorLearningRate, "floor learning rate");
        NotNegative(WeightDecay, "weight decay");
        NotNegative(ClipNorm, "clip norm");
        NotNegative(BalanceWeight, "balance weight");
        NotNegative(ZLossWeight, "z-loss weight");
        NotNegative(NullControllerRate, "null controller rate");
        NotNegative(CodeWeight, "code weight");
        NotNegative(LoadBiasRate, "load bias rate");
        NotNegative(TargetExperts, "target number of experts");
        Guard.That(
            TargetExperts == 0 || (Model.Score == ScoreFunction.Relu && Model.RouterKind == RouterKind.Linear && TargetExperts <= Model.TopK),
            $"A target number of experts is for a ReLU router and at most its {Model.TopK} experts per token, got {TargetExperts} and the router {Model.RouterName}.");
        Guard.That(
            LoadBiasRate == 0 || Model.SelectionBias != SelectionBias.None,
            $"The load bias is a selection bias: set SelectionBias.Score (router loss-free), or its rate to 0, got SelectionBias.{Model.SelectionBias} and {LoadBiasRate}.");
        Guard.That(
            NullControllerRate == 0 || Model.NullSlots == 0 || Model.SelectionBias == SelectionBias.Logit,
            $"The null-rate controller moves a bias on logits: set SelectionBias.Logit, or its rate to 0, got SelectionBias.{Model.SelectionBias} and {NullControllerRate}.");
        return this;
    }

    /// <summary>Writes the fields into an open object.</summary>
    internal void WriteFields(Utf8JsonWriter json)
    {
        json.WriteString("preset", Preset);
        json.WriteString("device", Device);
        json.WriteString("dtype", FloatType == DType.BFloat16 ? "bf16" : "fp32");

        // As text: many JSON readers round numbers beyond 2^53.
        json.WriteString("seed", Seed.ToString(System.Globalization.CultureInfo.InvariantCulture));
        json.WriteStartArray("data");
        foreach (string item in Data)
        {
            json.WriteStringValue(item);
        }

        json.WriteEndArray();
        json.WriteNumber("batch_size", BatchSize);
        json.WriteNumber("accumulation_steps", AccumulationSteps);
        json.WriteNumber("steps", Steps);
        json.WriteNumber("peak_learning_rate", PeakLearningRate);
        json.WriteNumber("floor_learning_rate", FloorLearningRate);
        json.WriteNumber("warmup_steps", WarmupSteps);
        json.WriteNumber("weight_decay", WeightDecay);
        json.WriteNumber("clip_norm", ClipNorm);
        json.WriteNumber("balance_weight", BalanceWeight);
        json.WriteString("balance_scope", s_balanceScopes.Single(scope => scope.Value == BalanceScope).Spelling);
        json.WriteNumber("z_loss_weight", ZLossWeight);
        json.WriteNumber("null_controller_rate", NullControllerRate);
        json.WriteNumber("code_weight", CodeWeight);
        json.WriteNumber("load_bias_rate", LoadBiasRate);
        json.WriteNumber("threshold_steps", ThresholdSteps);
        json.WriteNumber("threshold_start", ThresholdStart);
        json.WriteString("initial_model", InitialModel);
        json.WriteNumber("target_experts", TargetExperts);
        json.WriteNumber("evaluate_every", EvaluateEvery);
        json.WriteNumber("evaluation_bytes", EvaluationBytes);
        json.WriteNumber("validation_bytes", ValidationBytes);
        json.WriteNumber("save_every", SaveEvery);
        json.WriteNumber("log_every", LogEvery);
        json.WriteNumber("sample_bytes", SampleBytes);
        json.WritePropertyName("model");
        ModelConfigJson.WriteFields(json, Model);
    }

    private static void NotNegative(double value, string what) =>
        Guard.That(double.IsFinite(value) && value >= 0, $"The {what} is a number >= 0, got {value}.");
}
