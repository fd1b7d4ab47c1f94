namespace MoeSharp.Models;

/// <summary>What a training run ended with.</summary>
/// <param name="RunFolder">Where everything is.</param>
/// <param name="Steps">Steps done.</param>
/// <param name="ValidationBitsPerByte">On all validation text; NaN when the run was interrupted.</param>
/// <param name="MeasuredNullShare">Share of null slots on the validation text; NaN when the run was interrupted.</param>
/// <param name="Yardsticks">What simple methods reach on the same text; empty when the run was interrupted.</param>
/// <param name="Sample">Generated text; empty when the run was interrupted.</param>
/// <param name="Interrupted">Whether the run was cancelled; the checkpoint is saved and the run can be resumed.</param>
/// <param name="TokensPerSecond">Training throughput of this session, without evaluations and checkpoints; 0 when no step was made.</param>
public sealed record TrainResult(
    string RunFolder,
    long Steps,
    double ValidationBitsPerByte,
    double MeasuredNullShare,
    IReadOnlyList<YardstickRow> Yardsticks,
    string Sample,
    bool Interrupted,
    double TokensPerSecond);
