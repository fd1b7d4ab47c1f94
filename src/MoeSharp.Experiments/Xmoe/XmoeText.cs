using MoeSharp.Models;

namespace MoeSharp.Experiments;

/// <summary>The language model that both studies of the XMoE experiment share.</summary>
internal static class XmoeText
{
    /// <summary>Width of the residual stream.</summary>
    public const int Hidden = 64;

    /// <summary>What both descriptions begin with.</summary>
    public const string Description =
        "A byte-level transformer of two layers of width 64, whose feed-forward layers are 512 wide in all, on text that the program writes in paragraphs of one kind: prose with a grammar, "
        + "code, sums that can be computed, and noise in which there is nothing to learn. Trained on one text, evaluated on another of the same kinds.";

    /// <summary>Steps, learning rate, batch and text.</summary>
    public static IReadOnlyList<Setting> Training(int steps, int quickSteps, double[] weights, double[] quickWeights) =>
    [
        Setting.Whole("steps", steps, quickSteps, "optimizer steps of a cell", low: 2),
        Setting.Real("learning_rate", 5e-3, 5e-3, "peak learning rate, falling to a tenth", 1e-6, 1),
        Setting.List("balance_weights", weights, quickWeights, "weights of the balance loss that every arm is tuned over", 0, 100),
        Setting.Whole("batch", 8, 8, "windows per step"),
        Setting.Whole("context", 64, 64, "bytes of a window", low: 2),
        Setting.Whole("train_bytes", 400_000, 100_000, "length of the training text", low: 1000),
    ];

    /// <summary>How a cell trains.</summary>
    public static LanguageTraining Of(CellContext cell, int steps) => new(
        steps, cell.Settings.Int("batch"), cell.Settings["learning_rate"], cell.BalanceWeight, cell.Settings.Int("train_bytes"));

    /// <summary>The dense model.</summary>
    public static ModelConfig Dense(SettingValues settings) => new()
    {
        HiddenSize = Hidden,
        Layers = 2,
        Heads = 4,
        KeyValueHeads = 2,
        HeadDim = Hidden / 4,
        DenseWidth = WidthArm.TotalWidth,
        ContextLength = settings.Int("context"),
    };
}
