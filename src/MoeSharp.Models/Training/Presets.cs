namespace MoeSharp.Models;

/// <summary>Complete training options by name.</summary>
public static class Presets
{
    /// <summary>The preset that is used when none is named.</summary>
    public const string Default = "small";

    /// <summary>Names in ascending order of work.</summary>
    public static IReadOnlyList<string> Names { get; } = ["tiny", "small", "medium"];

    /// <summary>Options of a preset; set <see cref="TrainOptions.Data"/> and <see cref="TrainOptions.RunFolder"/>.</summary>
    /// <exception cref="ArgumentException">There is no such preset.</exception>
    public static TrainOptions Get(string name) => name switch
    {
        "tiny" => Tiny,
        "small" => Small,
        "medium" => Medium,
        _ => throw new ArgumentException($"There is no preset '{name}'; there are {string.Join(", ", Names)}.", nameof(name)),
    };

    // A few seconds: for tests and for trying out a command.
    private static TrainOptions Tiny => new()
    {
        Preset = "tiny",
        Model = new ModelConfig
        {
            HiddenSize = 32, Layers = 2, Heads = 2, KeyValueHeads = 1, HeadDim = 16,
            Experts = 4, ExpertWidth = 16, TopK = 2, DataSparsity = 0.5, ContextLength = 32,
        },
        BatchSize = 4,
        Steps = 40,
        WarmupSteps = 5,
        PeakLearningRate = 1e-2,
        FloorLearningRate = 1e-3,
        EvaluateEvery = 20,
        EvaluationBytes = 2048,
        ValidationBytes = 8192,
        SaveEvery = 20,
        LogEvery = 5,
        SampleBytes = 64,
    };

    // About two minutes on two cores. Of the settings tried on this repository's sources (tokens per step 1024 and 2048, peak rates
    // 4e-3 and 6e-3), the smaller batch with twice the steps ended lowest at equal tokens: 1.65 against 1.78 bits per byte.
    private static TrainOptions Small => new()
    {
        Preset = "small",
        Model = new ModelConfig
        {
            HiddenSize = 128, Layers = 4, Heads = 4, KeyValueHeads = 2, HeadDim = 32,
            Experts = 8, ExpertWidth = 96, TopK = 4, DataSparsity = 0.5, ContextLength = 256,
        },
        BatchSize = 4,
        Steps = 2000,
        WarmupSteps = 60,
        PeakLearningRate = 4e-3,
        FloorLearningRate = 4e-4,
        EvaluateEvery = 200,
        SaveEvery = 200,
    };

    // About twenty minutes on two cores.
    private static TrainOptions Medium => new()
    {
        Preset = "medium",
        Model = new ModelConfig
        {
            HiddenSize = 192, Layers = 6, Heads = 6, KeyValueHeads = 2, HeadDim = 32,
            Experts = 16, ExpertWidth = 96, TopK = 4, DataSparsity = 0.5, ContextLength = 256,
        },
        BatchSize = 8,
        Steps = 6500,
        WarmupSteps = 150,
        PeakLearningRate = 3e-3,
        FloorLearningRate = 3e-4,
        EvaluateEvery = 250,
        SaveEvery = 250,
    };
}
