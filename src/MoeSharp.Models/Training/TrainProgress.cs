namespace MoeSharp.Models;

/// <summary>Where a training run is; reported at every log line and evaluation.</summary>
/// <param name="Step">Steps done.</param>
/// <param name="TotalSteps">Steps of the run.</param>
/// <param name="TokensPerSecond">Training throughput since the last report, without evaluations and checkpoints.</param>
/// <param name="TrainBitsPerByte">Mean training loss since the last log line.</param>
/// <param name="ValidationBitsPerByte">Set when this report follows an evaluation.</param>
/// <param name="LearningRate">Learning rate of the last step.</param>
/// <param name="NullShare">Share of null slots since the last log line, mean over layers.</param>
/// <param name="LoadBalance">Largest expert load over mean expert load, mean over layers; 1 is even.</param>
/// <param name="GradientNorm">Gradient norm of the last step, before clipping.</param>
/// <param name="Elapsed">Time spent in this run, earlier sessions included.</param>
/// <param name="Eta">Estimate of the time left, without the last evaluation.</param>
public sealed record TrainProgress(
    long Step,
    long TotalSteps,
    double TokensPerSecond,
    double TrainBitsPerByte,
    double? ValidationBitsPerByte,
    double LearningRate,
    double NullShare,
    double LoadBalance,
    double GradientNorm,
    TimeSpan Elapsed,
    TimeSpan Eta);
