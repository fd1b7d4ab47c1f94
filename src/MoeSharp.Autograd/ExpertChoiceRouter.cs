using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Experts choose tokens: each takes the C it scores highest in the batch (expert choice, Zhou et al., arXiv 2202.09368, section 3.2).</summary>
/// <remarks>
/// <para>S = softmax over experts of x W; expert e takes the C = ceil(T K / E) tokens of largest S[., e] (equal: the earlier token), K
/// being the mean number of experts per token, and S is the weight. Every expert is full, so there is nothing to balance: the balance
/// loss is constant. A token has between 0 and E experts.</para>
/// <para>NOT CAUSAL: whether a token keeps an expert depends on every other token of the batch, later ones included. Its training loss
/// is not that of a model that predicts, and it cannot generate.</para>
/// <para>It is a gate that chooses all experts and a capacity that weighs first (<see cref="CapacityOrder.WeightFirst"/>); the plan has
/// room for E C rows, not for T E. Parameters: those of a linear router.</para>
/// </remarks>
public sealed class ExpertChoiceRouter : Router
{
    private readonly Linear _weight;
    private readonly int _mean;

    /// <summary>Makes a router.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter names.</param>
    /// <param name="options">Shape and variants of the layer, validated.</param>
    public ExpertChoiceRouter(Initializer init, string name, MoeOptions options)
        : base(init, name, options, options.Router with { TopK = options.Router.SlotsPerToken })
    {
        _mean = options.Router.TopK;
        _weight = Child(new Linear(init, name, options.Hidden, Spec.Columns, init.StandardDeviation));
    }

    /// <summary>Tokens that an expert takes out of T: ceil(T K / E).</summary>
    public int CapacityFor(int tokens) => Math.Max(1, (int)((((long)tokens * _mean) + Spec.Experts - 1) / Spec.Experts));

    /// <inheritdoc/>
    public override GateNode Route(Tape tape, Variable x, RouterContext context)
    {
        Variable logits = AddResidual(tape, _weight.Forward(tape, x), context);
        GateNode all = tape.Gate(logits, null, Spec);
        return tape.LimitCapacity(all, CapacityFor(checked((int)x.Shape[0])), Spec, CapacityOrder.WeightFirst) with { Logits = logits };
    }
}
