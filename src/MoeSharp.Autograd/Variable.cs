using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>A value on a <see cref="Tape"/>. The tensor is borrowed from the tape (or from the caller, for leaves) until <see cref="Tape.Reset"/>.</summary>
public sealed class Variable
{
    internal Variable(Tensor value, bool requiresGradient)
    {
        Value = value;
        RequiresGradient = requiresGradient;
    }

    /// <summary>The forward value.</summary>
    public Tensor Value { get; }

    /// <summary>
    /// Gradient of the last <see cref="Tape.Backward"/>, shaped like <see cref="Value"/>. Only leaves made by <see cref="Tape.Input"/>
    /// keep it; on other variables it lives while backward needs it. Null when no gradient reached the variable.
    /// </summary>
    public Tensor? Gradient { get; internal set; }

    /// <summary>Whether anything behind this variable is trained, so that backward visits it.</summary>
    public bool RequiresGradient { get; }

    /// <summary>Shape of the value.</summary>
    public Shape Shape => Value.Shape;

    /// <summary>Prints dtype and shape.</summary>
    public override string ToString() => Value.ToString();
}
