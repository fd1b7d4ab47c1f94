using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>What chooses experts: token vectors to ids and weights.</summary>
/// <remarks>
/// <para>The problem: a dozen ways of routing that a user compares in one line. The difficulty: they differ in where the logits come from
/// and in what a token is told about the others, not in what follows. The choice: a router ends in a <see cref="GateNode"/>, whatever it
/// did before; dispatch, experts and combine do not know which one it was. Which one a <see cref="RouterSpec"/> asks for is its
/// <see cref="RouterSpec.Kind"/>; the names of the family are in <see cref="RouterFamily"/>.</para>
/// <para>Buffer: NAME.selection_bias [C]. Parameter: NAME.residual.weight [C, C] with a gating residual. The others are those of the kinds.</para>
/// </remarks>
public abstract class Router : Module
{
    private readonly Linear? _residual;

    /// <summary>Makes what all routers share.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter names, such as model.layers.0.mlp.gate.</param>
    /// <param name="options">Shape and variants of the layer, validated.</param>
    /// <param name="spec">The rules its gate follows: those of the options, or what a kind makes of them.</param>
    protected Router(Initializer init, string name, MoeOptions options, RouterSpec spec)
    {
        Spec = spec;
        SelectionBias = spec.SelectionBias == Core.SelectionBias.None
            ? null
            : OwnBuffer($"{name}.selection_bias", init.WideConstant(0, spec.Columns));
        if (options.GatingResidual)
        {
            _residual = Child(new Linear(init, $"{name}.residual", spec.Columns, spec.Columns, std: 0));
        }
    }

    /// <summary>The rules of the gate: what <see cref="GateNode.Result"/> is shaped by.</summary>
    public RouterSpec Spec { get; private set; }

    /// <summary>[C], takes part in the choice only; zeros at the start; null unless the spec asks for it. Saved, not trained.</summary>
    public Tensor? SelectionBias { get; }

    /// <summary>
    /// Int32 [C], borrowed: loads of the other micro-batches of the step, which the balance loss adds to those of the pass; null for the pass
    /// alone. <see cref="GlobalBalance"/> sets it.
    /// </summary>
    public Tensor? OtherLoads { get; set; }

    /// <summary>Makes the router that a spec asks for.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter names.</param>
    /// <param name="options">Shape and variants of the layer.</param>
    /// <exception cref="ArgumentException">The options do not fit together; the message says which.</exception>
    public static Router Create(Initializer init, string name, MoeOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        return options.Router.Kind switch
        {
            RouterKind.Linear => new LinearRouter(init, name, options),
            RouterKind.Cosine => new CosineRouter(init, name, options),
            RouterKind.Hash => new HashRouter(init, name, options),
            RouterKind.NoisyTopK => new NoisyTopKRouter(init, name, options),
            RouterKind.ExpertChoice => new ExpertChoiceRouter(init, name, options),
            _ => throw new ArgumentOutOfRangeException(nameof(options), options.Router.Kind, "There is no such kind of router."),
        };
    }

    /// <summary>Replaces the probability mass of a threshold router, from the next pass on: annealing, or less work at inference.</summary>
    /// <exception cref="ArgumentException">This is no threshold router, or the mass is not in (0, 1].</exception>
    public void SetThreshold(double threshold)
    {
        Guard.That(Spec.Selection == Selection.Threshold, $"Only a threshold router has a threshold; this one takes Selection.{Spec.Selection}.");
        Spec = (Spec with { Threshold = threshold }).Validate();
    }

    /// <summary>[T, d] to ids and weights, on the tape.</summary>
    /// <param name="tape">Runs the ops.</param>
    /// <param name="x">[T, d], the input of the layer.</param>
    /// <param name="context">What else the router may look at.</param>
    /// <exception cref="ArgumentException">The context lacks what this router needs.</exception>
    public abstract GateNode Route(Tape tape, Variable x, RouterContext context);

    /// <summary>The gate of this router's rules, selection bias and other loads.</summary>
    /// <param name="tape">Runs the ops.</param>
    /// <param name="logits">[T, C].</param>
    protected GateNode Gate(Tape tape, Variable logits) => tape.Gate(logits, SelectionBias, Spec, OtherLoads) with { Logits = logits };

    /// <summary>Logits plus the gating residual, V times the logits of the layer before (MoE++, arXiv 2410.07348).</summary>
    /// <remarks>V starts at 0, so a model with the residual starts as the one without.</remarks>
    /// <param name="tape">Runs the ops.</param>
    /// <param name="logits">[T, C], of this layer alone; released.</param>
    /// <param name="context">Holds the logits of the layer before.</param>
    protected Variable AddResidual(Tape tape, Variable logits, RouterContext context)
    {
        if (_residual is null)
        {
            return logits;
        }

        Guard.That(
            context.PreviousLogits is { } before && before.Shape == logits.Shape,
            $"A router with a gating residual adds the logits {logits.Shape} of the MoE layer before it, got {context.PreviousLogits?.Shape.ToString() ?? "none"}; give RouterContext.PreviousLogits, or leave out GatingResidual.");
        Variable carried = _residual.Forward(tape, context.PreviousLogits!);
        Variable sum = tape.Add(logits, carried);
        tape.Release(logits);
        tape.Release(carried);
        return sum;
    }
}
