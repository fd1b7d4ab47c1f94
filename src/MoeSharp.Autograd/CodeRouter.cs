using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Every token to the expert of its nearest code: the discrete half of VQMoE (arXiv 2411.19402). Causal.</summary>
/// <remarks>
/// <para>The problem: a codebook that starts far from the data, or loses touch with it, sends every token to a few codes, hence experts. The choice:
/// codes start as tokens of the first batch of training, evenly spaced with a random offset each; a decaying average counts their use, and after
/// an optimizer step <see cref="Revive"/> moves the ones without to tokens of the last batch (CVQ, arXiv 2307.15139). Which tokens is a
/// function of the seed, the router's name and the number of the pass. No code was observed yet when all usage is 0, so the state is in the
/// tensors alone, and a run that is resumed goes on with the same bits.</para>
/// <para>Codes narrower than a token live in a subspace, projection P with orthonormal rows: x~ = carry x + P^T mix (v - P x), which for P = I is
/// the form of <see cref="QuantizerSpec"/>. P is drawn and kept (as in BEST-RQ, arXiv 2202.01855): the loss of the codebook would train it
/// towards 0, where every token is near every code.</para>
/// <para>Parameters: NAME.codebook [N, c], NAME.norm.weight [d]. Buffers: NAME.usage [N], NAME.projection [c, d].</para>
/// </remarks>
public sealed class CodeRouter : Router
{
    private const double Epsilon = 1e-5;

    // Of CVQ: a code without any use takes almost all of its anchor.
    private const double Reserve = 1e-3;

    private readonly CodebookSpec _codebook;
    private readonly QuantizerSpec _quantizer;
    private readonly CounterRandom _random;
    private readonly RmsNorm _norm;
    private readonly Tensor _map;
    private readonly Tensor _usage;
    private readonly Tensor _anchors;
    private readonly Tensor? _projection;
    private bool _hasCodes;
    private bool _hasAnchors;

    /// <summary>Makes a router.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter names.</param>
    /// <param name="options">Shape and variants of the layer, validated, with a codebook.</param>
    public CodeRouter(Initializer init, string name, MoeOptions options)
        : base(init, name, options with { GatingResidual = false }, Rules(options.Router))
    {
        _codebook = options.Router.Codebook!;
        _quantizer = _codebook.Quantizer;
        _random = new CounterRandom(init.Seed, Initializer.StreamOf($"{name}.anchors"));
        int width = _codebook.Width == 0 ? options.Hidden : _codebook.Width;
        Codebook = Own(new Parameter($"{name}.codebook", init.Normal($"{name}.codebook", 1, _codebook.Codes, width), decay: false));
        _norm = Child(new RmsNorm(init, $"{name}.norm", options.Hidden, Epsilon));
        _usage = OwnBuffer($"{name}.usage", init.WideConstant(0, _codebook.Codes));
        _projection = _codebook.Width == 0 ? null : OwnBuffer($"{name}.projection", Orthonormal(init.Normal($"{name}.projection", 1, width, options.Hidden)));
        using (TensorScope.Suspend())
        {
            _map = init.Backend.From<int>(_codebook.Map(Spec.Experts), _codebook.Codes);
            _anchors = init.Backend.Empty(_codebook.Codes, width);
        }
    }

    /// <summary>[N, c].</summary>
    public Parameter Codebook { get; }

    /// <summary>[N]: decaying average of the share of tokens of each code; all 0 before training. Saved, not trained.</summary>
    public Tensor Usage => _usage;

    /// <inheritdoc/>
    public override GateNode Route(Tape tape, Variable x, RouterContext context)
    {
        Variable point = _projection is null ? x : tape.Project(x, _projection, back: false);
        long? pass = tape.Recording ? context.Pass : null;
        if (pass is not null)
        {
            Prepare(tape, point.Value, pass.Value);
        }

        QuantizeNode node = tape.Quantize(point, Codebook, _quantizer);
        Variable quantised = node.Output;
        if (pass is not null && !context.Rehearsal)
        {
            Observe(tape, point.Value, node.Codes, pass.Value);
        }

        if (_projection is not null)
        {
            Variable shift = tape.Project(node.Output, _projection, back: true);
            quantised = tape.Add(_codebook.Carry == 1 ? x : tape.Scale(x, _codebook.Carry), shift);
            tape.Release(point);
            tape.Release(node.Output);
            tape.Release(shift);
        }

        Variable input = _norm.Forward(tape, quantised);
        tape.Release(quantised);
        return tape.AssignCodes(node.Codes, _map, Spec) with { Input = input, CodeLoss = node.Loss, Codes = node.Codes };
    }

    /// <summary>Moves the codes that nothing uses to tokens of the last training batch; call it after an optimizer step.</summary>
    public void Revive()
    {
        if (_hasAnchors && _codebook.UsageDecay > 0)
        {
            _anchors.Backend.ReviveCodes(_anchors, _usage, _codebook.UsageDecay, Reserve, Codebook.Master, Codebook.Value);
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        _map.Dispose();
        _anchors.Dispose();
        base.Dispose(disposing);
    }

    private static RouterSpec Rules(RouterSpec router) => new()
    {
        Experts = router.Experts, TopK = 1, Renormalize = Renormalize.None, Codebook = router.Codebook,
    };

    /// <summary>Codes from the first batch, when no batch was seen yet.</summary>
    private void Prepare(Tape tape, Tensor points, long pass)
    {
        if (_hasCodes || points.Shape[0] == 0)
        {
            return;
        }

        if (Array.TrueForAll(_usage.ToDoubles(), share => share == 0))
        {
            double stride = (double)points.Shape[0] / _codebook.Codes;
            Gather(tape, points, pass, (code, uniform) => (long)((code + uniform) * stride));

            // No use and no reserve: the codes become their anchors exactly.
            _anchors.Backend.ReviveCodes(_anchors, _usage, decay: 0, reserve: 0, Codebook.Master, Codebook.Value);
        }

        _hasCodes = true;
    }

    private void Observe(Tape tape, Tensor points, Tensor codes, long pass)
    {
        if (points.Shape[0] > 0)
        {
            _usage.Backend.CodeUsage(codes, _codebook.UsageDecay, _usage);
            Gather(tape, points, pass, (_, uniform) => (long)(uniform * points.Shape[0]));
            _hasAnchors = true;
        }
    }

    private void Gather(Tape tape, Tensor points, long pass, Func<int, double, long> tokenOf)
    {
        var tokens = new int[_codebook.Codes];
        for (int code = 0; code < tokens.Length; code++)
        {
            double uniform = _random.Uniform((ulong)((pass * tokens.Length) + code));
            tokens[code] = (int)Math.Min(tokenOf(code, uniform), points.Shape[0] - 1);
        }

        Tensor ids = tape.Rent(DType.Int32, tokens.Length);
        ids.CopyFrom<int>(tokens);
        points.Backend.Embedding(points, ids, _anchors);
    }

    /// <summary>Rows made orthonormal, one after the other (modified Gram-Schmidt, in double).</summary>
    private static Tensor Orthonormal(Tensor rows)
    {
        double[] values = rows.ToDoubles();
        int width = (int)rows.Shape[1];
        for (int row = 0; row < rows.Shape[0]; row++)
        {
            Span<double> own = values.AsSpan(row * width, width);
            for (int other = 0; other < row; other++)
            {
                ReadOnlySpan<double> unit = values.AsSpan(other * width, width);
                double along = Dot(own, unit);
                for (int i = 0; i < width; i++)
                {
                    own[i] -= along * unit[i];
                }
            }

            double length = Math.Sqrt(Dot(own, own));
            for (int i = 0; i < width; i++)
            {
                own[i] /= length;
            }
        }

        rows.FromDoubles(values);
        return rows;
    }

    private static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
        {
            sum += a[i] * b[i];
        }

        return sum;
    }
}
