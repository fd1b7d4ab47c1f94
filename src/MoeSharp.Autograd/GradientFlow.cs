using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>What a gradient rule sees of one recorded operation, in words short enough for <see cref="GradientRules"/>.</summary>
internal readonly struct GradientFlow(Tape tape, TapeNode node)
{
    /// <summary>Computes.</summary>
    public Backend Backend => tape.Backend;

    /// <summary>Operation of the node.</summary>
    public TapeOp Op => node.Op;

    /// <summary>Gradient of the first output.</summary>
    public Tensor D => node.Outputs[0].Gradient!;

    /// <summary>Forward value of the first output.</summary>
    public Tensor Y => node.Outputs[0].Value;

    /// <summary>Forward value of an input.</summary>
    public Tensor X(int input) => node.Inputs[input].Value;

    /// <summary>Whether an input wants a gradient.</summary>
    public bool Wants(int input) => node.Inputs[input].RequiresGradient;

    /// <summary>A parameter.</summary>
    public Parameter P(int parameter) => node.Parameters[parameter]!;

    /// <summary>Whether an optional parameter is there.</summary>
    public bool Has(int parameter) => node.Parameters[parameter] is not null;

    /// <summary>Workspace of the forward pass.</summary>
    public Tensor Saved(int index) => node.Saved[index];

    /// <summary>Specs and index tensors.</summary>
    public T Argument<T>() => (T)node.Argument!;

    /// <summary>Gradient of an output, or zeros when nothing used it. Hand it back with <see cref="Done"/>.</summary>
    public Tensor DOrZero(int output)
    {
        Variable variable = node.Outputs[output];
        if (variable.Gradient is { } gradient)
        {
            return tape.Share(gradient, [.. gradient.Shape]);
        }

        Tensor zeros = tape.RentLike(variable.Value);
        Backend.Fill(zeros, 0);
        return zeros;
    }

    /// <summary>A buffer shaped like an input, to be handed over with <see cref="Give"/>.</summary>
    public Tensor New(int input) => tape.RentLike(node.Inputs[input].Value);

    /// <summary>Workspace, to be handed back with <see cref="Done"/>.</summary>
    public Tensor Work(params ReadOnlySpan<long> shape) => tape.Rent(Backend.FloatType, shape);

    /// <summary>Workspace of the wide type, to be handed back with <see cref="Done"/>.</summary>
    public Tensor WideWork(params ReadOnlySpan<long> shape) => tape.Rent(Backend.WideType, shape);

    /// <summary>Hands over a (part of a) gradient of an input.</summary>
    public void Give(int input, Tensor gradient) => tape.AddGradient(node.Inputs[input], gradient);

    /// <summary>Lets an input have the first output's gradient as its own, in the input's shape, without a copy.</summary>
    public void Pass(int input) => Give(input, tape.Share(D, [.. node.Inputs[input].Shape]));

    /// <summary>Hands workspace back.</summary>
    public void Done(params ReadOnlySpan<Tensor> workspace)
    {
        foreach (Tensor tensor in workspace)
        {
            tape.Return(tensor);
        }
    }

    /// <summary>
    /// A buffer that an op may accumulate into as the gradient of an input: the present gradient when nobody else reads it, else
    /// zeros. Hand it over with <see cref="Give"/>, which adds whatever was present.
    /// </summary>
    public Tensor Sink(int input, out bool holdsPresent)
    {
        Variable variable = node.Inputs[input];
        holdsPresent = variable.Gradient is { } present && tape.IsExclusive(present);
        if (!holdsPresent)
        {
            return New(input);
        }

        Tensor sink = variable.Gradient!;
        variable.Gradient = null;
        return sink;
    }

    /// <summary>As <see cref="Sink"/>, with zeros written where nothing was present.</summary>
    public Tensor ZeroedSink(int input)
    {
        Tensor sink = Sink(input, out bool holdsPresent);
        if (!holdsPresent)
        {
            Backend.Fill(sink, 0);
        }

        return sink;
    }
}
