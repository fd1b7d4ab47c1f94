using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>One kind of data, the arms that are compared on it, how one cell is run, and what follows from the results.</summary>
internal abstract class Study
{
    /// <summary>Section of the configuration and folder of the cells.</summary>
    public abstract string Name { get; }

    /// <summary>Heading in the report.</summary>
    public abstract string Title { get; }

    /// <summary>The data and the model, in a few sentences.</summary>
    public abstract string Description { get; }

    /// <summary>What the lowest value of decides, named in tables, such as "held-out MSE".</summary>
    public abstract string LossName { get; }

    /// <summary>What the configuration file holds for this study. A cell sees nothing else.</summary>
    public abstract IReadOnlyList<Setting> Settings { get; }

    /// <summary>Columns of the table of results, after the loss and the measured experts.</summary>
    public abstract IReadOnlyList<Column> Columns { get; }

    /// <summary>What is compared.</summary>
    public abstract IReadOnlyList<Arm> Arms(SettingValues settings);

    /// <summary>
    /// Trains and evaluates one arm: initial weights, training data and evaluation data are functions of the seed, the evaluation data are
    /// not seen in training. Must give <see cref="Metric.Loss"/>, must be deterministic, and looks at <see cref="CellContext.Stop"/> once per step.
    /// </summary>
    public abstract CellResult Run(CellContext cell);

    /// <summary>What the paper says that this study can test, each decided from the results.</summary>
    public abstract IEnumerable<Claim> Claims(StudyResults results);

    /// <summary>Pictures from the results.</summary>
    public abstract IEnumerable<Figure> Figures(StudyResults results);

    /// <summary>The layer whose expert part is timed for an arm; null when it is not timed. The cell then gives <see cref="Metric.ExpertRows"/>.</summary>
    public virtual TimedShape? Timed(Arm arm, SettingValues settings) => null;
}

/// <summary>One side of a comparison.</summary>
/// <remarks>Not sealed: a study whose arms differ in more than their router derives its own.</remarks>
internal record Arm
{
    /// <summary>Letters, digits, dots and dashes: part of file names.</summary>
    public required string Name { get; init; }

    /// <summary>Name in the report.</summary>
    public required string Label { get; init; }

    /// <summary>What it is for.</summary>
    public required ArmRole Role { get; init; }

    /// <summary>The routing rules.</summary>
    public required RouterSpec Router { get; init; }

    /// <summary>Width of one expert.</summary>
    public required int ExpertWidth { get; init; }

    /// <summary>Balance weights of the sweep; one weight is not swept.</summary>
    public required IReadOnlyList<double> Weights { get; init; }

    /// <summary>
    /// Real experts per token that the arm is meant to use. A weight at which it uses over 5 % more on the tuning seeds is not chosen while another
    /// one stays inside. Null: whatever it uses.
    /// </summary>
    public double? Budget { get; init; }
}

/// <summary>What an arm is for.</summary>
internal enum ArmRole
{
    /// <summary>What the paper proposes.</summary>
    Method,

    /// <summary>What it is compared with.</summary>
    Baseline,

    /// <summary>What tells apart reasons for a difference.</summary>
    Control,
}

/// <summary>A column of the table of results.</summary>
/// <param name="Metric">A number of the cells.</param>
/// <param name="Name">Heading.</param>
/// <param name="Format">.NET number format, such as F2 or P0.</param>
internal sealed record Column(string Metric, string Name, string Format = "F2");

/// <summary>What a cell is run with.</summary>
/// <param name="Backend">Computes, on one thread; of this cell alone.</param>
/// <param name="Arm">What to train.</param>
/// <param name="BalanceWeight">Weight of the balance loss.</param>
/// <param name="Seed">Seed of everything random.</param>
/// <param name="Settings">The study's section of the configuration.</param>
/// <param name="Stop">Throw when it is cancelled.</param>
internal sealed record CellContext(
    Backend Backend, Arm Arm, double BalanceWeight, ulong Seed, SettingValues Settings, CancellationToken Stop);
