using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>y = x W^T + b. Parameters: NAME.weight [out, in], NAME.bias [out].</summary>
public sealed class Linear : Module
{
    /// <summary>Makes a layer with normal weights and a zero bias.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter names.</param>
    /// <param name="inputs">Input width.</param>
    /// <param name="outputs">Output width.</param>
    /// <param name="std">Standard deviation of the weights.</param>
    /// <param name="bias">Whether there is a bias; it is not decayed.</param>
    public Linear(Initializer init, string name, int inputs, int outputs, double std, bool bias = false)
    {
        Weight = Own(new Parameter($"{name}.weight", init.Normal($"{name}.weight", std, outputs, inputs)));
        Bias = bias ? Own(new Parameter($"{name}.bias", init.Constant(0, outputs), decay: false)) : null;
    }

    /// <summary>[out, in].</summary>
    public Parameter Weight { get; }

    /// <summary>[out], or null.</summary>
    public Parameter? Bias { get; }

    /// <summary>[T, in] to [T, out].</summary>
    public Variable Forward(Tape tape, Variable x) => tape.Linear(x, Weight, Bias);
}
