using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Finds where NaN or infinity first appears, in the order in which values are computed.</summary>
internal static class NonFiniteSearch
{
    private const string Hint = "lower the learning rate, lengthen the warm-up or clip gradients harder; the last checkpoint is kept";

    /// <summary>After a forward pass whose loss is not finite.</summary>
    public static TrainingException InForward(long step, double loss, Transformer model, TransformerOutput output)
    {
        string place = FirstParameter(model) is { } name ? $"the parameter {name}"
            : FirstLayer(output) is { } layer ? $"the output of the MoE layer model.layers.{layer}.mlp"
            : "the logits or the loss, behind the last layer";
        return new TrainingException($"The loss is {Name(loss)} at step {step}; it first appears in {place}; {Hint}.");
    }

    /// <summary>After a backward pass whose gradient norm is not finite. Backward runs from the last parameter to the first.</summary>
    public static TrainingException InBackward(long step, double norm, Transformer model)
    {
        string place = model.Parameters.Reverse().FirstOrDefault(parameter => !IsFinite(parameter.Gradient)) is { } found
            ? $"the gradient of {found.Name}"
            : "the norm alone, which overflows";
        return new TrainingException($"The gradient norm is {Name(norm)} at step {step}; it first appears in {place}; {Hint}.");
    }

    private static string? FirstParameter(Transformer model) =>
        model.Parameters.FirstOrDefault(parameter => !IsFinite(parameter.Value))?.Name;

    private static int? FirstLayer(TransformerOutput output)
    {
        for (int layer = 0; layer < output.Layers.Count; layer++)
        {
            if (!IsFinite(output.Layers[layer].Output.Value))
            {
                return layer;
            }
        }

        return null;
    }

    private static bool IsFinite(Tensor tensor) => Array.TrueForAll(tensor.ToDoubles(), double.IsFinite);

    private static string Name(double value) => double.IsNaN(value) ? "NaN" : "infinite";
}
