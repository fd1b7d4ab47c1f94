namespace MoeSharp.Experiments;

/// <summary>A balance weight of the sweep and how the arm did at it on the tuning seeds.</summary>
/// <param name="Weight">Balance weight.</param>
/// <param name="Loss">Loss over the tuning seeds.</param>
/// <param name="RealExperts">Real experts per token over the tuning seeds.</param>
/// <param name="IsWithinBudget">Whether the arm used at most 5 % more experts than meant.</param>
internal sealed record SweepPoint(double Weight, Spread Loss, Spread RealExperts, bool IsWithinBudget);

/// <summary>An arm at its own best balance weight.</summary>
/// <param name="Arm">What was trained.</param>
/// <param name="Sweep">The tuning, in order of weights.</param>
/// <param name="Weight">The chosen weight.</param>
/// <param name="Cells">The final evaluation, one per seed, in order of seeds.</param>
internal sealed record ArmResult(Arm Arm, IReadOnlyList<SweepPoint> Sweep, double Weight, IReadOnlyList<CellResult> Cells)
{
    /// <summary>Most that an arm may exceed its budget, or another arm, and still count as equal compute.</summary>
    public const double Tolerance = 1.05;

    /// <summary>Whether the chosen weight is the first or last of a sweep, so that a better one may lie outside.</summary>
    public bool IsAtEdge => Sweep.Count > 1 && (Weight == Sweep[0].Weight || Weight == Sweep[^1].Weight);

    /// <summary>A number of every seed.</summary>
    public IReadOnlyList<double> Values(string metric) => [.. Cells.Select(cell => cell.Get(metric))];

    /// <summary>Mean and spread of a number.</summary>
    public Spread Of(string metric) => Spread.Of(Values(metric));

    /// <summary>The point with the lowest mean loss among those within the budget, or among all when none is; equal: the smaller weight.</summary>
    public static double Choose(IReadOnlyList<SweepPoint> sweep)
    {
        bool any = sweep.Any(point => point.IsWithinBudget);
        return sweep.Where(point => point.IsWithinBudget || !any).OrderBy(point => double.IsNaN(point.Loss.Mean) ? double.PositiveInfinity : point.Loss.Mean).ThenBy(point => point.Weight).First().Weight;
    }
}

/// <summary>The results of a study.</summary>
/// <param name="Study">The study.</param>
/// <param name="Settings">What it was run with.</param>
/// <param name="Arms">One per arm, in the order of the study.</param>
/// <param name="Timings">Times of the expert part, one per timed arm; empty before they were taken.</param>
internal sealed record StudyResults(Study Study, SettingValues Settings, IReadOnlyList<ArmResult> Arms, IReadOnlyList<ArmTiming> Timings)
{
    /// <summary>An arm by name.</summary>
    public ArmResult this[string arm] => Arms.First(result => result.Arm.Name == arm);

    /// <summary>Pictures, decided from the results.</summary>
    public IReadOnlyList<Figure> Figures => field ??= [.. Study.Figures(this)];

    /// <summary>Claims, decided from the results.</summary>
    public IReadOnlyList<Claim> Claims => field ??= [.. Study.Claims(this)];
}
