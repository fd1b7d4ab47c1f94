using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>A value on a <see cref="Tape"/>.</summary>
/// <remarks>The tensor is borrowed, from the tape until <see cref="Tape.Reset"/> or, for a leaf, from the caller.</remarks>
public sealed class Variable
{
    internal Variable(Tensor value, bool requiresGradient)
    {
        Raw = value;
        RequiresGradient = requiresGradient;
    }

    /// <summary>The forward value.</summary>
    /// <exception cref="ObjectDisposedException">The tape was reset, or the value was released.</exception>
    public Tensor Value
    {
        get
        {
            ObjectDisposedException.ThrowIf(Raw.IsDisposed, this);
            return Raw;
        }
    }

    /// <summary>
    /// Gradient of the last <see cref="Tape.Backward"/>, shaped like <see cref="Value"/>. Only leaves made by <see cref="Tape.Input"/>
    /// keep it; on other variables it lives while backward needs it. Null when no gradient reached the variable.
    /// </summary>
    public Tensor? Gradient { get; internal set; }

    /// <summary>Whether anything behind this variable is trained, so that backward visits it.</summary>
    public bool RequiresGradient { get; }

    /// <summary>Shape of the value.</summary>
    public Shape Shape => Raw.Shape;

    /// <summary>The value, alive or not.</summary>
    internal Tensor Raw { get; }

    /// <summary>Prints dtype and shape.</summary>
    public override string ToString() => Raw.ToString();
}
