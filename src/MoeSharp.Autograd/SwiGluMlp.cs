namespace MoeSharp.Autograd;

/// <summary>Dense feed-forward layer with SwiGLU (arXiv 2002.05202).</summary>
/// <remarks>Parameters: NAME.gate_up_proj.weight [2n, d] (gate rows, then up rows), NAME.down_proj.weight [d, n].</remarks>
public sealed class SwiGluMlp : Module
{
    /// <summary>Makes a layer.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter names.</param>
    /// <param name="hidden">Width d of the rows.</param>
    /// <param name="width">Inner width n.</param>
    /// <param name="outputStd">Standard deviation of the down projection.</param>
    public SwiGluMlp(Initializer init, string name, int hidden, int width, double outputStd)
    {
        GateUp = Child(new Linear(init, $"{name}.gate_up_proj", hidden, 2 * width, init.StandardDeviation));
        Down = Child(new Linear(init, $"{name}.down_proj", width, hidden, outputStd));
    }

    /// <summary>Gate rows, then up rows.</summary>
    public Linear GateUp { get; }

    /// <summary>Back to the hidden width.</summary>
    public Linear Down { get; }

    /// <summary>[T, d] to [T, d].</summary>
    public Variable Forward(Tape tape, Variable x)
    {
        Variable z = GateUp.Forward(tape, x);
        Variable a = tape.SwiGlu(z);
        tape.Release(z);
        Variable y = Down.Forward(tape, a);
        tape.Release(a);
        return y;
    }
}
