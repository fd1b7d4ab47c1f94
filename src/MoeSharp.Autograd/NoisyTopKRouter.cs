using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Top-k of logits with learnt noise (Shazeer et al., arXiv 1701.06538).</summary>
/// <remarks>
/// In training H = x Wg + noise * (softplus(x Wn) + floor); the K largest are chosen and a softmax over them weighs. The balance
/// loss is that of the paper, CV(importance)^2 + CV(load)^2 with one weight for both (0.1 there); load is a smooth estimate
/// of how many tokens an expert gets, so it trains the router where counts cannot. Noise is a function of seed, layer, <see cref="RouterContext.Pass"/> and
/// place in the batch, so a resumed run draws the same. Outside of training there is no noise, and the balance loss is that of the gate.
/// Wn starts at 0, so training starts with noise of one spread for all. Causal. Parameters: NAME.weight [E, d], NAME.noise.weight [E, d].
/// </remarks>
public sealed class NoisyTopKRouter : Router
{
    /// <summary>Weight of both losses in the paper.</summary>
    public const double PublishedLossWeight = 0.1;

    private readonly Linear _weight;
    private readonly Linear _noise;
    private readonly NoiseRange _stream;

    /// <summary>Makes a router.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter names.</param>
    /// <param name="options">Shape and variants of the layer, validated.</param>
    public NoisyTopKRouter(Initializer init, string name, MoeOptions options)
        : base(init, name, options, options.Router)
    {
        _weight = Child(new Linear(init, name, options.Hidden, Spec.Columns, init.StandardDeviation));
        _noise = Child(new Linear(init, $"{name}.noise", options.Hidden, Spec.Columns, std: 0));
        _stream = new NoiseRange(init.Seed, Initializer.StreamOf($"{name}.noise"), 0);
    }

    /// <inheritdoc/>
    public override GateNode Route(Tape tape, Variable x, RouterContext context)
    {
        Variable logits = AddResidual(tape, _weight.Forward(tape, x), context);
        if (context.Pass is not { } pass)
        {
            return Gate(tape, logits);
        }

        // 2^32 numbers per pass are more than a batch has.
        Variable spread = _noise.Forward(tape, x);
        Variable noisy = tape.NoisyLogits(logits, spread, _stream with { First = (ulong)pass << 32 });
        GateNode gate = tape.Gate(noisy, null, Spec);
        return gate with { BalanceLoss = tape.NoisyBalance(logits, spread, noisy, gate, Spec), Logits = logits };
    }
}
