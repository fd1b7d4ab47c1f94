namespace MoeSharp.Core;

/// <summary>Disposes every tensor that was made inside it, except those that <see cref="Keep"/> moved out.</summary>
/// <remarks>
/// The current scope follows the async flow (<see cref="AsyncLocal{T}"/>), not the thread. Scopes nest: an inner scope takes
/// precedence, and a kept tensor belongs to the enclosing scope, if there is one.
/// </remarks>
public sealed class TensorScope : IDisposable
{
    private static readonly AsyncLocal<TensorScope?> s_current = new();
    private readonly TensorScope? _outer;
    private readonly HashSet<Tensor> _tensors = new(ReferenceEqualityComparer.Instance);

    /// <summary>Opens a scope inside the current one.</summary>
    public TensorScope()
    {
        _outer = s_current.Value;
        s_current.Value = this;
    }

    /// <summary>The innermost open scope of this async flow, if any.</summary>
    public static TensorScope? Current => s_current.Value;

    /// <summary>Moves a tensor to the enclosing scope (or to the caller, when there is none) and returns it.</summary>
    public Tensor Keep(Tensor tensor)
    {
        lock (_tensors)
        {
            _tensors.Remove(tensor);
        }

        _outer?.Add(tensor);
        return tensor;
    }

    /// <summary>Opens a stretch in which no scope collects: for owners such as pools and parameters that dispose by themselves.</summary>
    public static IDisposable Suspend()
    {
        var suspension = new Suspension(s_current.Value);
        s_current.Value = null;
        return suspension;
    }

    /// <summary>Disposes what was not kept and closes the scope.</summary>
    public void Dispose()
    {
        if (ReferenceEquals(s_current.Value, this))
        {
            s_current.Value = _outer;
        }

        lock (_tensors)
        {
            foreach (Tensor tensor in _tensors)
            {
                tensor.Dispose();
            }

            _tensors.Clear();
        }
    }

    internal void Add(Tensor tensor)
    {
        lock (_tensors)
        {
            _tensors.Add(tensor);
        }
    }

    private sealed class Suspension(TensorScope? previous) : IDisposable
    {
        public void Dispose() => s_current.Value = previous;
    }
}
