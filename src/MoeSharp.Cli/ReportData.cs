namespace MoeSharp.Cli;

/// <summary>One logged training step.</summary>
/// <param name="Step">Step, from 1.</param>
/// <param name="BitsPerByte">Training loss in bits per byte.</param>
/// <param name="LearningRate">Learning rate of the step.</param>
/// <param name="GradientNorm">Norm before clipping.</param>
/// <param name="TokensPerSecond">Throughput; NaN when the log has none.</param>
/// <param name="NullShare">Share of slots that chose a null expert, per layer.</param>
/// <param name="ExpertLoad">Share of the real slots per expert, per layer.</param>
/// <param name="RealExperts">Mean real experts per token, per layer.</param>
internal sealed record ReportStep(
    long Step,
    double BitsPerByte,
    double LearningRate,
    double GradientNorm,
    double TokensPerSecond,
    IReadOnlyList<double> NullShare,
    IReadOnlyList<IReadOnlyList<double>> ExpertLoad,
    IReadOnlyList<double> RealExperts);

/// <summary>One evaluation on the validation text.</summary>
/// <param name="Step">Step after which it ran.</param>
/// <param name="BitsPerByte">Validation loss in bits per byte.</param>
/// <param name="NullShareByClass">Share of null slots per token class.</param>
/// <param name="RealExperts">Mean real experts per token, per layer and token class; empty when the run did not record it.</param>
/// <param name="ExpertSlots">Slots per layer, element expert * classes + class; empty when the run did not record it.</param>
internal sealed record ReportEvaluation(
    long Step,
    double BitsPerByte,
    IReadOnlyList<double> NullShareByClass,
    IReadOnlyList<IReadOnlyList<double>> RealExperts,
    IReadOnlyList<IReadOnlyList<double>> ExpertSlots);

/// <summary>A row of the comparison on the validation text.</summary>
internal sealed record ReportYardstick(string Name, double BitsPerByte, bool IsModel);

/// <summary>A number at the head of the report.</summary>
internal sealed record ReportFigure(string Label, string Value, string Note);

/// <summary>Everything a report shows, free of files and JSON.</summary>
internal sealed record ReportData
{
    /// <summary>Name of the run.</summary>
    public required string Name { get; init; }

    /// <summary>One line that describes the model.</summary>
    public required string Summary { get; init; }

    /// <summary>Headline numbers.</summary>
    public required IReadOnlyList<ReportFigure> Figures { get; init; }

    /// <summary>Configuration entries.</summary>
    public required IReadOnlyList<(string Name, string Value)> Configuration { get; init; }

    /// <summary>Training log in order of steps.</summary>
    public required IReadOnlyList<ReportStep> Steps { get; init; }

    /// <summary>Evaluations in order of steps.</summary>
    public required IReadOnlyList<ReportEvaluation> Evaluations { get; init; }

    /// <summary>Names of the token classes, in the order of <see cref="ReportEvaluation.NullShareByClass"/>.</summary>
    public required IReadOnlyList<string> Classes { get; init; }

    /// <summary>The comparison, sorted by bits per byte; empty before the yardsticks were measured.</summary>
    public required IReadOnlyList<ReportYardstick> Yardsticks { get; init; }

    /// <summary>Configured share of null slots, or null for a model without null experts.</summary>
    public required double? NullTarget { get; init; }

    /// <summary>Slots per token K: the most real experts that a token can use in a layer.</summary>
    public required int Slots { get; init; }

    /// <summary>Text that the model wrote.</summary>
    public required ReportText Sample { get; init; }

    /// <summary>A piece of the validation text.</summary>
    public required ReportText Excerpt { get; init; }
}
