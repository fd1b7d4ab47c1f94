using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>One row of weights per logit column: the router of most models.</summary>
/// <remarks>
/// What its gate does with the logits is data: top-k softmax (Switch, arXiv 2101.03961) and sigmoid (DeepSeek-V3, arXiv 2412.19437), top-p
/// (arXiv 2403.07652), null experts (arXiv 2601.15370), threshold (XMoE, arXiv 2403.18926), ReLU (ReMoE, arXiv 2412.14711), and the
/// selection bias of balancing without a loss (arXiv 2408.15664). Causal. Parameters: NAME.weight [C, d], NAME.bias [C].
/// </remarks>
public sealed class LinearRouter : Router
{
    private readonly double _inputScale;

    /// <summary>Makes a router.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter names.</param>
    /// <param name="options">Shape and variants of the layer, validated.</param>
    public LinearRouter(Initializer init, string name, MoeOptions options)
        : base(init, name, options, options.Router)
    {
        _inputScale = options.InputScale;
        Weight = Own(new Parameter($"{name}.weight", init.Normal($"{name}.weight", init.StandardDeviation, Spec.Columns, options.Hidden)));
        Bias = options.RouterBias ? Own(new Parameter($"{name}.bias", init.Constant(0, Spec.Columns), decay: false)) : null;
    }

    /// <summary>[C, d]: one row per logit column.</summary>
    public Parameter Weight { get; }

    /// <summary>[C], or null.</summary>
    public Parameter? Bias { get; }

    /// <inheritdoc/>
    public override GateNode Route(Tape tape, Variable x, RouterContext context)
    {
        Variable routed = _inputScale == 1 ? x : tape.Scale(x, _inputScale);
        return Gate(tape, AddResidual(tape, tape.Linear(routed, Weight, Bias), context));
    }
}
