using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Adam with decoupled weight decay (arXiv 1711.05101) and clipping by the norm of all gradients together.</summary>
/// <remarks>
/// Nothing is read back to the host: norm and clip factor stay on the device. Norms, biases and embeddings are not decayed
/// (<see cref="Parameter.Decay"/>). A checkpoint needs <see cref="Step"/> and <see cref="State"/>.
/// </remarks>
public sealed class AdamW : IDisposable
{
    private readonly Backend _backend;
    private readonly AdamWOptions _options;
    private readonly IReadOnlyList<Parameter> _parameters;
    private readonly Tensor[] _gradients;
    private readonly Tensor[] _first;
    private readonly Tensor[] _second;
    private readonly Tensor _factor;

    /// <summary>Makes an optimizer with zero moments.</summary>
    /// <param name="backend">Computes the updates.</param>
    /// <param name="parameters">What is trained; borrowed.</param>
    /// <param name="options">Hyper-parameters; the defaults when null.</param>
    /// <exception cref="ArgumentException">Two parameters have one name.</exception>
    public AdamW(Backend backend, IReadOnlyList<Parameter> parameters, AdamWOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(backend);
        string? twice = parameters.CountBy(parameter => parameter.Name).FirstOrDefault(pair => pair.Value > 1).Key;
        Guard.That(twice is null, $"Two parameters are named '{twice}'; moments are saved by name.");
        _backend = backend;
        _options = options ?? new AdamWOptions();
        _parameters = [.. parameters];
        using (TensorScope.Suspend())
        {
            _gradients = [.. _parameters.Select(parameter => parameter.Gradient)];
            foreach (Parameter parameter in _parameters)
            {
                _ = parameter.Master;
            }

            _first = [.. _parameters.Select(Zeros)];
            _second = [.. _parameters.Select(Zeros)];
            _factor = backend.EmptyWide(1);
            LastNorm = backend.EmptyWide(1);
        }

        backend.Fill(LastNorm, 0);
    }

    /// <summary>Updates done so far; set it when a checkpoint is loaded.</summary>
    public long Step { get; set; }

    /// <summary>[1]: norm of all gradients at the last update, before clipping.</summary>
    public Tensor LastNorm { get; }

    /// <summary>The moments: NAME.m and NAME.v for every parameter, in order; and NAME.master where the master weights are not the weights themselves.</summary>
    public IEnumerable<(string Name, Tensor Value)> State
    {
        get
        {
            for (int i = 0; i < _parameters.Count; i++)
            {
                yield return ($"{_parameters[i].Name}.m", _first[i]);
                yield return ($"{_parameters[i].Name}.v", _second[i]);
                if (_parameters[i].HasMaster)
                {
                    yield return ($"{_parameters[i].Name}.master", _parameters[i].Master);
                }
            }
        }
    }

    /// <summary>One update of every parameter from its accumulated gradient. Gradients are left as they are.</summary>
    /// <param name="learningRate">Step size, schedule included.</param>
    public void Update(double learningRate)
    {
        Step++;
        _backend.GradNorm(_gradients, LastNorm);
        _backend.ClipFactor(LastNorm, _options.ClipNorm, _factor);
        for (int i = 0; i < _parameters.Count; i++)
        {
            double decay = _parameters[i].Decay ? _options.WeightDecay : 0;
            var step = new AdamWStep(learningRate, _options.Beta1, _options.Beta2, _options.Epsilon, decay, Step);
            _backend.AdamW(_gradients[i], _factor, step, _parameters[i].Master, _first[i], _second[i], _parameters[i].Value);
        }
    }

    /// <summary>Sets all gradients to zero.</summary>
    public void ZeroGradients()
    {
        foreach (Parameter parameter in _parameters)
        {
            parameter.ZeroGradient();
        }
    }

    /// <summary>Frees the moments. Parameters and gradients belong to their modules.</summary>
    public void Dispose()
    {
        foreach (Tensor moment in (ReadOnlySpan<Tensor>)[.. _first, .. _second, _factor, LastNorm])
        {
            moment.Dispose();
        }
    }

    private Tensor Zeros(Parameter parameter)
    {
        Tensor zeros = _backend.Empty(parameter.Value.Shape, _backend.WideType);
        _backend.Fill(zeros, 0);
        return zeros;
    }
}
