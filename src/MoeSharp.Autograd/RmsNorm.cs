using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Root-mean-square norm (arXiv 1910.07467). Parameter: NAME.weight [d], ones at the start, not decayed.</summary>
public sealed class RmsNorm : Module
{
    /// <summary>Makes a norm.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter name.</param>
    /// <param name="width">Width d of a normed row.</param>
    /// <param name="epsilon">Added to the mean square.</param>
    public RmsNorm(Initializer init, string name, int width, double epsilon)
    {
        Weight = Own(new Parameter($"{name}.weight", init.Constant(1, width), decay: false));
        Epsilon = epsilon;
    }

    /// <summary>[d].</summary>
    public Parameter Weight { get; }

    /// <summary>Added to the mean square.</summary>
    public double Epsilon { get; }

    /// <summary>
    /// [T, k * d] to the same shape: every run of d columns is normed by itself, so k = 1 norms whole rows and k = heads norms heads.
    /// </summary>
    public Variable Forward(Tape tape, Variable x)
    {
        long width = Weight.Value.Shape[0];
        if (x.Shape[1] == width)
        {
            return tape.RmsNorm(x, Weight, Epsilon);
        }

        Guard.That(x.Shape[1] % width == 0, $"A norm of width {width} does not divide rows of width {x.Shape[1]}.");
        Variable pieces = tape.Reshape(x, x.Value.ElementCount / width, width);
        Variable normed = tape.RmsNorm(pieces, Weight, Epsilon);
        Variable rows = tape.Reshape(normed, x.Shape[0], x.Shape[1]);
        tape.Release(pieces);
        tape.Release(normed);
        return rows;
    }
}
