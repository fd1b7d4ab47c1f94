using System.Globalization;
using MoeSharp.Experiments;

namespace MoeSharp.Cli;

/// <summary>How the numbers and words of an experiment are spelt.</summary>
internal static class ExperimentText
{
    /// <summary>A number in a .NET format, or a dash.</summary>
    public static string Value(double value, string format) =>
        double.IsFinite(value) ? value.ToString(format, CultureInfo.InvariantCulture).Replace(" %", "%", StringComparison.Ordinal) : "-";

    /// <summary>Mean and spread in a .NET format.</summary>
    public static string Value(Spread spread, string format) => double.IsFinite(spread.Deviation)
        ? $"{Value(spread.Mean, format)} ± {Value(spread.Deviation, format)}"
        : Value(spread.Mean, format);

    /// <summary>An outcome in words.</summary>
    public static string Of(Outcome outcome) => outcome switch
    {
        Outcome.Reproduced => "reproduced",
        Outcome.Opposite => "opposite",
        _ => "not reproduced",
    };

    /// <summary>A role in words.</summary>
    public static string Of(ArmRole role) => role.ToString().ToLowerInvariant();
}
