using System.Globalization;

namespace MoeSharp.Experiments;

/// <summary>What became of a claim at this size.</summary>
internal enum Outcome
{
    /// <summary>The interval lies wholly on the claimed side.</summary>
    Reproduced,

    /// <summary>The interval contains no difference: these seeds do not tell.</summary>
    NotReproduced,

    /// <summary>The interval lies wholly on the other side.</summary>
    Opposite,
}

/// <summary>Something that a paper, or a reading of it, says; decided by numbers.</summary>
/// <param name="Statement">The claim as a sentence.</param>
/// <param name="Outcome">The decision.</param>
/// <param name="Evidence">The numbers and how many seeds agree.</param>
internal sealed record Claim(string Statement, Outcome Outcome, string Evidence)
{
    /// <summary>The rule behind every decision, as the report states it.</summary>
    public const string Rule =
        "A claim is put as a number per seed that should be positive: the relative difference of two arms that share the seed and so the data, or a difference "
        + "between two kinds of tokens of one model. It counts as reproduced when the 95 % confidence interval of its mean over the seeds (Student's t) lies above zero, as "
        + "opposite when it lies below, and else as not reproduced. A claim about equal compute also needs the measured real experts per token of "
        + "the method to be at most 5 % above those of the other side. Intervals are not corrected for the number of claims.";

    /// <summary>Decides by a quantity per seed that the claim says is positive.</summary>
    /// <param name="statement">The claim.</param>
    /// <param name="quantity">What the numbers are, as "null share of blank patches minus that of text".</param>
    /// <param name="perSeed">One number per seed.</param>
    /// <param name="format">Format of the numbers: P1 or F3.</param>
    /// <param name="context">More numbers for the reader, a sentence or nothing.</param>
    public static Claim Positive(string statement, string quantity, IReadOnlyList<double> perSeed, string format = "F3", string context = "")
    {
        Spread spread = Spread.Of(perSeed);
        Outcome outcome = spread.Low > 0 ? Outcome.Reproduced : spread.High < 0 ? Outcome.Opposite : Outcome.NotReproduced;
        string interval = spread.Count < 2 ? "one seed has no interval" : $"95 % interval {Signed(spread.Low, format)} to {Signed(spread.High, format)}";
        string evidence = $"{(context.Length > 0 ? context + " " : string.Empty)}{Capital(quantity)}: {Signed(spread.Mean, format)} ({interval}); positive on {perSeed.Count(value => value > 0)} of {spread.Count} seeds.";
        return new Claim(statement, outcome, evidence);
    }

    /// <summary>Decides whether one arm's number is lower than another's, seed by seed, and at equal compute if that is claimed.</summary>
    /// <param name="statement">The claim.</param>
    /// <param name="method">Should be lower.</param>
    /// <param name="other">Should be higher.</param>
    /// <param name="metric">The number.</param>
    /// <param name="metricName">What it is called.</param>
    /// <param name="atEqualCompute">Whether the method may not use over 5 % more real experts.</param>
    public static Claim Lower(string statement, ArmResult method, ArmResult other, string metric, string metricName, bool atEqualCompute)
    {
        IReadOnlyList<double> a = method.Values(metric), b = other.Values(metric);
        double[] relative = [.. a.Zip(b, (x, y) => (y - x) / y)];
        (Spread mine, Spread theirs) = (method.Of(Metric.RealExperts), other.Of(Metric.RealExperts));
        string context = string.Create(
            CultureInfo.InvariantCulture,
            $"{method.Arm.Label} {Number(method.Of(metric))} at {mine.Mean:F2} real experts, {other.Arm.Label} {Number(other.Of(metric))} at {theirs.Mean:F2}.");
        Claim claim = Positive(statement, $"relative fall of the {metricName}", relative, "P1", context);
        bool matched = mine.Mean <= theirs.Mean * ArmResult.Tolerance;
        return !atEqualCompute || matched ? claim : claim with
        {
            Outcome = claim.Outcome == Outcome.Opposite ? Outcome.Opposite : Outcome.NotReproduced,
            Evidence = claim.Evidence + " Not at equal compute: the method used over 5 % more experts.",
        };
    }

    /// <summary>Mean ± spread with three significant digits of the spread.</summary>
    public static string Number(Spread spread)
    {
        double size = Math.Abs(spread.Mean);
        string format = size >= 100 ? "F1" : size >= 10 ? "F2" : size >= 0.1 ? "F3" : "F4";
        string mean = spread.Mean.ToString(format, CultureInfo.InvariantCulture);
        return double.IsFinite(spread.Deviation) ? $"{mean} ± {spread.Deviation.ToString(format, CultureInfo.InvariantCulture)}" : mean;
    }

    private static string Signed(double value, string format)
    {
        string text = value.ToString(format, CultureInfo.InvariantCulture).Replace(" %", "%", StringComparison.Ordinal);
        return value > 0 ? "+" + text : text;
    }

    private static string Capital(string text) => char.ToUpperInvariant(text[0]) + text[1..];
}
