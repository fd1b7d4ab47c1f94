using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Causal self-attention with grouped key/value heads, optional query/key norms and rotary positions.</summary>
/// <remarks>
/// Parameters: NAME.{q,k,v,o}_proj.weight, NAME.{q,k,v}_proj.bias, NAME.{q,k}_norm.weight. One path serves training and generation:
/// with a cache, the new keys and values are appended and attention reads the whole cache.
/// </remarks>
public sealed class AttentionLayer : Module
{
    private readonly Linear _q;
    private readonly Linear _k;
    private readonly Linear _v;
    private readonly Linear _o;
    private readonly RmsNorm? _qNorm;
    private readonly RmsNorm? _kNorm;

    /// <summary>Makes a layer.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter names.</param>
    /// <param name="options">Shape and variants.</param>
    /// <param name="outputStd">Standard deviation of the output projection.</param>
    public AttentionLayer(Initializer init, string name, AttentionOptions options, double outputStd)
    {
        Options = options.Validate();
        int queryWidth = options.Heads * options.HeadDim, keyWidth = options.KeyValueHeads * options.HeadDim;
        double std = init.StandardDeviation;
        _q = Child(new Linear(init, $"{name}.q_proj", options.Hidden, queryWidth, std, options.Bias));
        _k = Child(new Linear(init, $"{name}.k_proj", options.Hidden, keyWidth, std, options.Bias));
        _v = Child(new Linear(init, $"{name}.v_proj", options.Hidden, keyWidth, std, options.Bias));
        _o = Child(new Linear(init, $"{name}.o_proj", queryWidth, options.Hidden, outputStd));
        if (options.QueryKeyNorm != QueryKeyNorm.None)
        {
            bool whole = options.QueryKeyNorm == QueryKeyNorm.Whole;
            _qNorm = Child(new RmsNorm(init, $"{name}.q_norm", whole ? queryWidth : options.HeadDim, options.Epsilon));
            _kNorm = Child(new RmsNorm(init, $"{name}.k_norm", whole ? keyWidth : options.HeadDim, options.Epsilon));
        }
    }

    /// <summary>Shape and variants.</summary>
    public AttentionOptions Options { get; }

    /// <summary>Width of a <see cref="KvCache"/> for this layer.</summary>
    public int CacheWidth => Options.KeyValueHeads * Options.HeadDim;

    /// <summary>Attends.</summary>
    /// <param name="tape">Runs the ops.</param>
    /// <param name="x">[batch * length, Hidden].</param>
    /// <param name="positions">Int32 [batch * length]; with a cache they go on from its length.</param>
    /// <param name="batch">Sequences.</param>
    /// <param name="length">Tokens per sequence.</param>
    /// <param name="cache">Keys and values of the tokens before, extended by this call; batch 1 and a tape that does not record.</param>
    /// <returns>[batch * length, Hidden].</returns>
    /// <exception cref="ArgumentException">A cache with a batch above 1, or with a recording tape.</exception>
    public Variable Forward(Tape tape, Variable x, Tensor positions, int batch, int length, KvCache? cache = null)
    {
        Guard.That(
            cache is null || (batch == 1 && !tape.Recording),
            $"A cache serves one sequence without recording, got batch {batch} and recording {tape.Recording}.");
        Variable q = Rotate(tape, _q.Forward(tape, x), _qNorm, positions);
        Variable k = Rotate(tape, _k.Forward(tape, x), _kNorm, positions);
        Variable v = _v.Forward(tape, x);
        var spec = new AttentionSpec(
            batch, length, length, Options.Heads, Options.KeyValueHeads, Options.HeadDim, 1 / Math.Sqrt(Options.HeadDim));
        Variable attended;
        if (cache is null)
        {
            attended = tape.Attention(q, k, v, spec);
        }
        else
        {
            cache.Append(k.Value, v.Value);
            spec = spec with { KeyLength = cache.Length, KeyCapacity = cache.Capacity };
            attended = tape.Attention(q, tape.Constant(cache.Keys), tape.Constant(cache.Values), spec);
        }

        tape.Release(q);
        tape.Release(k);
        tape.Release(v);
        Variable output = _o.Forward(tape, attended);
        tape.Release(attended);
        return output;
    }

    private Variable Rotate(Tape tape, Variable x, RmsNorm? norm, Tensor positions)
    {
        Variable normed = norm is null ? x : norm.Forward(tape, x);
        if (norm is not null)
        {
            tape.Release(x);
        }

        Variable rotated = tape.Rope(normed, positions, Options.Rope);
        tape.Release(normed);
        return rotated;
    }
}
