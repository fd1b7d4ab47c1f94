using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Sends every token id to K experts that were drawn once and stay (hash layers, Roller et al., arXiv 2106.04426).</summary>
/// <remarks>
/// The paper's random hash: nothing is learnt about routing, and balance is that of the vocabulary. The map of a layer is a function of seed and
/// name, so layers differ; it is saved with the model as the buffer NAME.table [V, E], which holds 1/K where an id has an expert and 0
/// elsewhere. A row of it is what a ReLU gate takes as logits: the K positive ones are chosen and are the weights. So it needs no op of its own;
/// its losses are constant and train nothing. With K > 1 the experts of an id are distinct and averaged. Causal; needs
/// <see cref="RouterContext.TokenIds"/>.
/// </remarks>
public sealed class HashRouter : Router
{
    private readonly Tensor _table;

    /// <summary>Makes a router.</summary>
    /// <param name="init">Makes the table.</param>
    /// <param name="name">Prefix of the buffer's name.</param>
    /// <param name="options">Shape and variants of the layer, validated.</param>
    public HashRouter(Initializer init, string name, MoeOptions options)
        : base(init, name, options, options.Router)
    {
        int experts = Spec.Experts;
        var random = new CounterRandom(init.Seed, Initializer.StreamOf($"{name}.table"));
        double[] table = new double[checked(options.Vocabulary * experts)];
        int[] order = new int[experts];
        for (int id = 0; id < options.Vocabulary; id++)
        {
            // The first K of a shuffle.
            for (int i = 0; i < experts; i++)
            {
                order[i] = i;
            }

            for (int i = 0; i < Spec.TopK; i++)
            {
                int other = i + (int)random.Below((ulong)(((long)id * experts) + i), experts - i);
                (order[i], order[other]) = (order[other], order[i]);
                table[(id * experts) + order[i]] = 1.0 / Spec.TopK;
            }
        }

        _table = OwnBuffer($"{name}.table", init.Constant(0, options.Vocabulary, experts));
        _table.FromDoubles(table);
    }

    /// <inheritdoc/>
    public override GateNode Route(Tape tape, Variable x, RouterContext context)
    {
        string given = context.TokenIds is { } ids ? $"{ids.ElementCount}" : "none";
        Guard.That(
            context.TokenIds?.ElementCount == x.Shape[0],
            $"A hash router sends ids to experts and needs one per token, {x.Shape[0]} here, got {given}; give RouterContext.TokenIds.");
        Tensor rows = tape.Rent(tape.Backend.FloatType, x.Shape[0], Spec.Experts);
        tape.Backend.Embedding(_table, context.TokenIds!, rows);
        return tape.Gate(tape.Constant(rows), null, Spec);
    }
}
