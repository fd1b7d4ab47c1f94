namespace MoeSharp.Core;

/// <summary>Where the logits of a router come from.</summary>
public enum RouterKind
{
    /// <summary>A product of the token and one row of weights per column.</summary>
    Linear,
}
