using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>A part of a model that owns parameters, buffers and child modules.</summary>
/// <remarks>Names are full checkpoint names, given to constructors as prefixes: nothing is renamed between memory and file.</remarks>
public abstract class Module : IDisposable
{
    private readonly List<IDisposable> _parts = [];
    private readonly List<(string Name, Tensor Value)> _buffers = [];

    /// <summary>Own parameters and those of the children, depth first, in the order in which parameters and children were made.</summary>
    public IReadOnlyList<Parameter> Parameters =>
        [.. _parts.SelectMany(part => part is Module child ? child.Parameters : [(Parameter)part])];

    /// <summary>State that is saved but not trained, such as selection biases: own buffers, then those of the children.</summary>
    public IReadOnlyList<(string Name, Tensor Value)> Buffers => [.. _buffers, .. _parts.OfType<Module>().SelectMany(child => child.Buffers)];

    /// <summary>Sets the gradients of all parameters to zero.</summary>
    public void ZeroGradients()
    {
        foreach (Parameter parameter in Parameters)
        {
            parameter.ZeroGradient();
        }
    }

    /// <summary>Frees everything the module owns. Safe to call twice.</summary>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Frees everything the module owns.</summary>
    protected virtual void Dispose(bool disposing)
    {
        foreach (IDisposable part in _parts)
        {
            part.Dispose();
        }

        foreach ((string _, Tensor value) in _buffers)
        {
            value.Dispose();
        }
    }

    /// <summary>Registers a child; it is disposed with this module.</summary>
    protected T Child<T>(T module)
        where T : Module
    {
        _parts.Add(module);
        return module;
    }

    /// <summary>Registers a parameter; it is disposed with this module.</summary>
    protected Parameter Own(Parameter parameter)
    {
        _parts.Add(parameter);
        return parameter;
    }

    /// <summary>Registers state that is saved but not trained; it is disposed with this module.</summary>
    protected Tensor OwnBuffer(string name, Tensor value)
    {
        _buffers.Add((name, value));
        return value;
    }
}
