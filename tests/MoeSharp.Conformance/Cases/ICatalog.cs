namespace MoeSharp.Conformance;

/// <summary>The cases of one op family.</summary>
public interface ICatalog
{
    /// <summary>Cases small enough for the oracle.</summary>
    static abstract IReadOnlyList<OpCase> All { get; }

    /// <summary>Cases large enough that a backend cuts the work into many parts; the oracle never runs them.</summary>
    static abstract IReadOnlyList<OpCase> Large { get; }
}
