using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>A part of a model that owns parameters, buffers and child modules.</summary>
/// <remarks>Names are full checkpoint names, given to constructors as prefixes: nothing is renamed between memory and file.</remarks>
public abstract class Module : IDisposable
{
    private readonly List<Module> _children = [];
    private readonly List<Parameter> _parameters = [];
    private readonly List<(string Name, Tensor Value)> _buffers = [];

    /// <summary>Own parameters, then those of the children, depth first, in the order they were made.</summary>
    public IReadOnlyList<Parameter> Parameters => [.. _parameters, .. _children.SelectMany(child => child.Parameters)];

    /// <summary>State that is saved but not trained, such as selection biases; same order as <see cref="Parameters"/>.</summary>
    public IReadOnlyList<(string Name, Tensor Value)> Buffers => [.. _buffers, .. _children.SelectMany(child => child.Buffers)];

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
        foreach (Module child in _children)
        {
            child.Dispose();
        }

        foreach (Parameter parameter in _parameters)
        {
            parameter.Dispose();
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
        _children.Add(module);
        return module;
    }

    /// <summary>Registers a parameter; it is disposed with this module.</summary>
    protected Parameter Own(Parameter parameter)
    {
        _parameters.Add(parameter);
        return parameter;
    }

    /// <summary>Registers state that is saved but not trained; it is disposed with this module.</summary>
    protected Tensor OwnBuffer(string name, Tensor value)
    {
        _buffers.Add((name, value));
        return value;
    }
}
