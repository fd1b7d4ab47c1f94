using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>The discrete branch of a VQMoE layer (arXiv 2411.19402) and its part of the output.</summary>
/// <remarks>
/// y = w_c y_c + w_d norm(E_e(norm(x~))), with (w_c, w_d) = softmax(A x + b). A softmax over two is a sigmoid of the difference, so A has one row:
/// w_d = sigmoid(a x + b), w_c = sigmoid(-a x - b). The norms are two modules; the authors' code shares one by accident. They are
/// root-mean-square norms like all others here. The branches are two dispatches: their experts read different rows.
/// Parameters: those of <see cref="CodeRouter"/> as NAME.*, NAME.output_norm.weight [d], NAME.mixer.weight [1, d], NAME.mixer.bias [1].
/// </remarks>
public sealed class DiscreteBranch : Module
{
    private readonly RmsNorm _norm;
    private readonly Linear _mixer;

    /// <summary>Makes a branch.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter names.</param>
    /// <param name="options">Shape and variants of the layer, validated, with a codebook.</param>
    public DiscreteBranch(Initializer init, string name, MoeOptions options)
    {
        Router = Child(new CodeRouter(init, name, options));
        _norm = Child(new RmsNorm(init, $"{name}.output_norm", options.Hidden, 1e-5));
        _mixer = Child(new Linear(init, $"{name}.mixer", options.Hidden, 1, init.StandardDeviation, bias: true));
    }

    /// <summary>Chooses the experts.</summary>
    public CodeRouter Router { get; }

    /// <summary>The output of the layer.</summary>
    /// <param name="tape">Runs the ops.</param>
    /// <param name="x">[T, d], the input of the layer.</param>
    /// <param name="discrete">[T, d] of the experts of the codes; released.</param>
    /// <param name="continuous">[T, d] of the experts of the router; released; null when there is none.</param>
    public Variable Join(Tape tape, Variable x, Variable discrete, Variable? continuous)
    {
        Variable normed = _norm.Forward(tape, discrete), share = _mixer.Forward(tape, x);
        Variable output = tape.SigmoidGate(normed, share);
        tape.Release(discrete);
        tape.Release(normed);
        if (continuous is not null)
        {
            (Variable own, Variable rest) = (output, tape.Scale(share, -1));
            Variable other = tape.SigmoidGate(continuous, rest);
            output = tape.Add(other, own);
            foreach (Variable spent in (ReadOnlySpan<Variable>)[own, other, rest, continuous])
            {
                tape.Release(spent);
            }
        }

        tape.Release(share);
        return output;
    }
}
