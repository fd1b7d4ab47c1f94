using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>A row per token id. Parameter: NAME.weight [V, d], not decayed.</summary>
public sealed class Embedding : Module
{
    /// <summary>Makes a table of normal values.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter name.</param>
    /// <param name="vocabulary">Rows V.</param>
    /// <param name="width">Columns d.</param>
    /// <param name="std">Standard deviation of the values.</param>
    public Embedding(Initializer init, string name, int vocabulary, int width, double std) =>
        Weight = Own(new Parameter($"{name}.weight", init.Normal($"{name}.weight", std, vocabulary, width), decay: false));

    /// <summary>[V, d]. A tied output layer uses it as the weight of <see cref="Tape.Linear"/>.</summary>
    public Parameter Weight { get; }

    /// <summary>Int32 [T] to [T, d].</summary>
    public Variable Forward(Tape tape, Tensor ids) => tape.Embedding(Weight, ids);
}
