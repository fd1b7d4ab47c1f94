namespace MoeSharp.Models;

/// <summary>What an evaluation measured. Numbers about experts are NaN, and lists of layers empty, for a dense model.</summary>
/// <param name="BitsPerByte">Mean code length of the predicted bytes.</param>
/// <param name="Bytes">How many bytes were predicted.</param>
/// <param name="NullShare">Share of all slots that were null.</param>
/// <param name="NullShareByClass">The same per <see cref="TokenClass"/> of the byte that was read, mean over layers; NaN for a class that did not occur.</param>
/// <param name="NullShareByLayer">The same per layer.</param>
/// <param name="RealExpertsPerToken">Mean number of real experts a token used in a layer.</param>
public sealed record EvaluationResult(
    double BitsPerByte,
    long Bytes,
    double NullShare,
    IReadOnlyList<double> NullShareByClass,
    IReadOnlyList<double> NullShareByLayer,
    double RealExpertsPerToken)
{
    /// <summary>Mean number of real experts per token, per layer and <see cref="TokenClass"/>; NaN for a class that did not occur. Empty when it was not recorded.</summary>
    public IReadOnlyList<IReadOnlyList<double>> RealExpertsByClass { get; init; } = [];

    /// <summary>Slots that chose an expert, per layer: element expert * <see cref="TokenClassifier.ClassCount"/> + class. Empty when it was not recorded.</summary>
    public IReadOnlyList<IReadOnlyList<double>> ExpertSlots { get; init; } = [];
}
