using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>A Mixture-of-Experts feed-forward layer whose slots may be null.</summary>
/// <remarks>
/// out = sum over chosen real experts of weight * expert(x) + null slots as the spec says + shared expert. Sources: null experts
/// (arXiv 2601.15370), identity nulls (LongCat-Flash), constant nulls (MoE++, arXiv 2410.07348), gated shared expert (Qwen2-MoE).
/// Parameters: NAME.gate.* of the <see cref="Autograd.Router"/>, NAME.experts.gate_up_proj [E, 2n, d], NAME.experts.down_proj [E, d, n],
/// NAME.constant_experts.mix.weight [2c, d], NAME.constant_experts.constants [c, d], NAME.shared_expert.*,
/// NAME.shared_expert_gate.weight [1, d], NAME.discrete.* of the <see cref="DiscreteBranch"/>.
/// </remarks>
public sealed class MoeLayer : Module
{
    private readonly Linear? _mix;
    private readonly Parameter? _constants;
    private readonly SwiGluMlp? _shared;
    private readonly Linear? _sharedGate;
    private readonly DiscreteBranch? _discrete;

    /// <summary>Makes a layer.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter names.</param>
    /// <param name="options">Shape and variants.</param>
    /// <param name="outputStd">Standard deviation of the down projections.</param>
    public MoeLayer(Initializer init, string name, MoeOptions options, double outputStd)
    {
        Options = options.Validate();
        RouterSpec router = options.Router;
        double std = init.StandardDeviation;
        _discrete = router.Codebook is null ? null : Child(new DiscreteBranch(init, $"{name}.discrete", options));
        Router = router.Codebook is { DiscreteOnly: true } ? _discrete!.Router : Child(Router.Create(init, $"{name}.gate", options));
        W1 = Make(init, $"{name}.experts.gate_up_proj", std, router.Experts, 2L * options.ExpertWidth, options.Hidden);
        W2 = Make(init, $"{name}.experts.down_proj", outputStd, router.Experts, options.Hidden, options.ExpertWidth);
        if (router.ConstantSlots > 0)
        {
            _constants = Make(init, $"{name}.constant_experts.constants", outputStd, router.ConstantSlots, options.Hidden);
            _mix = Child(new Linear(init, $"{name}.constant_experts.mix", options.Hidden, 2 * router.ConstantSlots, std));
        }

        if (options.SharedWidth > 0)
        {
            _shared = Child(new SwiGluMlp(init, $"{name}.shared_expert", options.Hidden, options.SharedWidth, outputStd));
            _sharedGate = options.SharedGate ? Child(new Linear(init, $"{name}.shared_expert_gate", options.Hidden, 1, std)) : null;
        }
    }

    /// <summary>Shape and variants.</summary>
    public MoeOptions Options { get; }

    /// <summary>Chooses the experts.</summary>
    public Router Router { get; }

    /// <summary>The codebook and what belongs to it (VQMoE); null without one.</summary>
    public CodeRouter? Codes => _discrete?.Router;

    /// <summary>[E, 2n, d]: gate rows, then up rows.</summary>
    public Parameter W1 { get; }

    /// <summary>[E, d, n].</summary>
    public Parameter W2 { get; }

    /// <summary>That of the router.</summary>
    public Tensor? SelectionBias => Router.SelectionBias;

    /// <summary>[T, d] to [T, d], with the auxiliary losses and the routing.</summary>
    /// <param name="tape">Runs the ops.</param>
    /// <param name="x">[T, d].</param>
    /// <param name="context">What the router may look at beside x; <see cref="RouterContext.None"/> when null.</param>
    public MoeOutput Forward(Tape tape, Variable x, RouterContext? context = null)
    {
        RouterSpec spec = Router.Spec;
        RouterContext seen = context ?? RouterContext.None;
        GateNode gate = Router.Route(tape, x, seen);
        if (Options.CapacityFactor > 0)
        {
            gate = tape.LimitCapacity(gate, spec.CapacityFor(checked((int)x.Shape[0]), Options.CapacityFactor), spec);
        }

        Variable output = tape.Experts(gate.Input ?? x, gate, W1, W2, spec, out RoutingPlan plan);
        GateNode? codes = _discrete is null ? null : ReferenceEquals(Router, _discrete.Router) ? gate : _discrete.Router.Route(tape, x, seen);
        if (_constants is not null)
        {
            Variable mix = _mix!.Forward(tape, x);
            output = tape.ConstantExperts(x, mix, _constants, gate, spec, output);
            tape.Release(mix);
        }

        if (_discrete is not null)
        {
            output = ReferenceEquals(codes, gate)
                ? _discrete.Join(tape, x, output, continuous: null)
                : _discrete.Join(tape, x, tape.Experts(codes!.Input!, codes, W1, W2, _discrete.Router.Spec, out _), output);
            tape.Release(codes!.Input!);
        }

        if (_shared is not null)
        {
            (Variable routedOutput, Variable shared) = (output, Shared(tape, x));
            output = tape.Add(routedOutput, shared);
            tape.Release(routedOutput);
            tape.Release(shared);
        }

        return new MoeOutput(output, gate.BalanceLoss, gate.ZLoss, gate.Result, plan, spec) { Logits = gate.Logits, Discrete = codes };
    }

    private Variable Shared(Tape tape, Variable x)
    {
        Variable shared = _shared!.Forward(tape, x);
        if (_sharedGate is null)
        {
            return shared;
        }

        Variable gated = tape.SigmoidGate(shared, _sharedGate.Forward(tape, x));
        tape.Release(shared);
        return gated;
    }

    private Parameter Make(Initializer init, string name, double std, params ReadOnlySpan<long> shape) =>
        Own(new Parameter(name, init.Normal(name, std, shape)));
}
