using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>A trained tensor and its gradient. Owns both.</summary>
public sealed class Parameter : IDisposable
{
    private Tensor? _gradient;
    private Tensor? _master;

    /// <summary>Takes ownership of a value.</summary>
    /// <param name="name">Full name, as in a checkpoint.</param>
    /// <param name="value">A float tensor of the backend's type; disposed with the parameter.</param>
    /// <param name="decay">Whether weight decay applies: matrices yes; norms, biases and embeddings no.</param>
    public Parameter(string name, Tensor value, bool decay = true)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(value);
        Guard.Holds(value, value.Backend.FloatType, 0);
        Name = name;
        Value = value;
        Decay = decay;
    }

    /// <summary>Full name, as in a checkpoint.</summary>
    public string Name { get; }

    /// <summary>The weights.</summary>
    public Tensor Value { get; }

    /// <summary>
    /// The accumulated gradient, shaped like <see cref="Value"/>, of the wide type. It keeps its memory for the parameter's life; it is made, filled with
    /// zeros, when it is first asked for, so that a model that is only used for inference does not pay for it.
    /// </summary>
    public Tensor Gradient => _gradient ??= MakeGradient();

    /// <summary>
    /// The weights that an optimizer updates, in the wide type: <see cref="Value"/> itself where that is wide, else a copy made when it is
    /// first asked for, of which Value is the rounding.
    /// </summary>
    public Tensor Master => Value.DType == Value.Backend.WideType ? Value : _master ??= MakeMaster();

    /// <summary>Whether there are master weights apart from <see cref="Value"/>.</summary>
    public bool HasMaster => _master is not null;

    /// <summary>Whether weight decay applies.</summary>
    public bool Decay { get; }

    /// <summary>Sets the gradient to zero.</summary>
    public void ZeroGradient()
    {
        if (_gradient is not null)
        {
            Value.Backend.Fill(_gradient, 0);
        }
    }

    /// <summary>Frees value and gradient.</summary>
    public void Dispose()
    {
        Value.Dispose();
        _gradient?.Dispose();
        _master?.Dispose();
    }

    /// <summary>Prints name, dtype and shape.</summary>
    public override string ToString() => $"{Name} {Value}";

    private Tensor MakeGradient()
    {
        // A parameter outlives any scope that happens to be open when its gradient is first needed.
        using (TensorScope.Suspend())
        {
            Tensor gradient = Value.Backend.Empty(Value.Shape, Value.Backend.WideType);
            Value.Backend.Fill(gradient, 0);
            return gradient;
        }
    }

    private Tensor MakeMaster()
    {
        using (TensorScope.Suspend())
        {
            Tensor master = Value.Backend.Empty(Value.Shape, Value.Backend.WideType);
            master.FromDoubles(Value.ToDoubles());
            return master;
        }
    }
}
