using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Scores experts by the cosine between a low-dimensional token and the expert's embedding (X-MoE, Chi et al., arXiv 2204.09179, section 4).</summary>
/// <remarks>
/// logit = cos(P x, e) / tau, with P [r, d] and one embedding e [r] per column. Neither the length of a token nor that of an embedding
/// takes part, so no expert wins by growing, and tokens are not drawn to embeddings along all d dimensions, which X-MoE finds to collapse
/// representations. Made of ops that are there: two root-mean-square norms without weight, a product, and a scalar for 1 / tau, which is
/// trained. Causal. Parameters: NAME.projection.weight [r, d], NAME.embedding [C, r],
/// NAME.inverse_temperature [1, 1].
/// </remarks>
public sealed class CosineRouter : Router
{
    // A projected token shorter than about this has no direction to speak of.
    private const double Epsilon = 1e-12;
    private readonly Linear _projection;
    private readonly Parameter _embedding;
    private readonly Parameter _inverseTemperature;

    /// <summary>Makes a router.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter names.</param>
    /// <param name="options">Shape and variants of the layer, validated.</param>
    public CosineRouter(Initializer init, string name, MoeOptions options)
        : base(init, name, options, options.Router)
    {
        int width = Spec.CosineWidth;
        _projection = Child(new Linear(init, $"{name}.projection", options.Hidden, width, init.StandardDeviation));
        _embedding = Own(new Parameter($"{name}.embedding", init.Normal($"{name}.embedding", init.StandardDeviation, Spec.Columns, width)));
        _inverseTemperature = Own(new Parameter($"{name}.inverse_temperature", init.Constant(1 / Spec.Temperature, 1, 1), decay: false));
    }

    /// <inheritdoc/>
    public override GateNode Route(Tape tape, Variable x, RouterContext context)
    {
        Variable low = _projection.Forward(tape, x);
        Variable token = tape.Normalize(low, Epsilon), expert = tape.Normalize(tape.Use(_embedding), Epsilon);
        Variable product = tape.Product(token, expert);

        // Of vectors of mean square 1, the product is width times the cosine.
        Variable cosine = tape.Reshape(tape.Scale(product, 1.0 / Spec.CosineWidth), product.Value.ElementCount, 1);
        Variable own = tape.Reshape(tape.Linear(cosine, _inverseTemperature), [.. product.Shape]);
        tape.Release(low);
        tape.Release(token);
        return Gate(tape, AddResidual(tape, own, context));
    }
}
