using System.Runtime.CompilerServices;

namespace MoeSharp.Core;

/// <summary>Argument checks of the public op boundary: each throws one sentence with the values.</summary>
public static class Guard
{
    /// <summary>Checks that a tensor is alive, of a dtype and of an exact shape.</summary>
    /// <exception cref="ArgumentException">Dtype or shape differ.</exception>
    /// <exception cref="ObjectDisposedException">The tensor was disposed.</exception>
    public static void Is(
        Tensor tensor, DType type, ReadOnlySpan<long> shape, [CallerArgumentExpression(nameof(tensor))] string? name = null)
    {
        ArgumentNullException.ThrowIfNull(tensor, name);
        ObjectDisposedException.ThrowIf(tensor.IsDisposed, tensor);
        bool same = tensor.Shape.Rank == shape.Length && tensor.DType == type;
        for (int i = 0; same && i < shape.Length; i++)
        {
            same = tensor.Shape[i] == shape[i];
        }

        if (!same)
        {
            throw new ArgumentException($"Expected {type}[{string.Join(", ", shape.ToArray())}], got {tensor}.", name);
        }
    }

    /// <summary>Checks that a tensor is alive, of a dtype and holds at least a number of elements (workspaces).</summary>
    public static void Holds(Tensor tensor, DType type, long elements, [CallerArgumentExpression(nameof(tensor))] string? name = null)
    {
        ArgumentNullException.ThrowIfNull(tensor, name);
        ObjectDisposedException.ThrowIf(tensor.IsDisposed, tensor);
        if (tensor.DType != type || tensor.ElementCount < elements)
        {
            throw new ArgumentException($"Expected {type} with at least {elements} elements, got {tensor}.", name);
        }
    }

    /// <summary>Checks a condition about arguments.</summary>
    /// <exception cref="ArgumentException">The condition is false.</exception>
    public static void That(bool condition, string message)
    {
        if (!condition)
        {
            throw new ArgumentException(message);
        }
    }
}
