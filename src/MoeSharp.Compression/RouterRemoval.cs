using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Compression;

/// <summary>Takes the router out of a VQMoE model: its codes alone choose one expert per token (arXiv 2411.19402, the second stage).</summary>
/// <remarks>
/// What is left computes w_d y_d, with the weights as they were; the paper's sources do not say what becomes of w_d, so the mixer stays and can
/// be trained on. Every tensor but those of the router is carried over exactly. Deterministic.
/// </remarks>
public static class RouterRemoval
{
    /// <summary>Makes the model without routers.</summary>
    /// <param name="model">A model with a router and a codebook in every layer; borrowed.</param>
    /// <returns>The new model, which the caller disposes.</returns>
    /// <exception cref="ArgumentException">The model has no codebook, or no router beside it.</exception>
    public static Transformer Remove(Transformer model)
    {
        ArgumentNullException.ThrowIfNull(model);
        var codes = new Transformer(model.Backend, Configuration(model.Config), seed: 0);
        try
        {
            IReadOnlyList<(string Name, Tensor Tensor)> rest = StateCopy.Fill(codes, model);
            return rest.Count == 0 ? codes : throw new InvalidOperationException($"The model has no {rest[0].Name} to carry over.");
        }
        catch
        {
            codes.Dispose();
            throw;
        }
    }

    /// <summary>The shape without routers.</summary>
    /// <param name="model">Shape of a model with a router and a codebook.</param>
    /// <exception cref="ArgumentException">The model has no codebook, or no router beside it.</exception>
    public static ModelConfig Configuration(ModelConfig model)
    {
        ArgumentNullException.ThrowIfNull(model);
        Guard.That(
            model.Codebook is not null,
            $"Only a vq model can do without its router; this one has {(model.IsDense ? "no experts" : $"the router {model.RouterName} and no codebook")}.");
        Guard.That(!model.Codebook!.DiscreteOnly, "This model's codes have no router beside them; there is nothing to remove.");
        return model with { Codebook = model.Codebook with { DiscreteOnly = true } };
    }
}
