using MoeSharp.Core;
using MoeSharp.Experiments;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>The decisions of an experiment follow from its numbers, in every direction.</summary>
public sealed class StatisticsTests
{
    [Fact]
    public void Spread_FiveValues_HasTheIntervalOfStudentsT()
    {
        // By hand: mean 3, squares 10, deviation sqrt(2.5), t(4) = 2.776.
        Spread spread = Spread.Of([1, 2, 3, 4, 5]);
        Assert.Equal(3, spread.Mean);
        Assert.Equal(Math.Sqrt(2.5), spread.Deviation, 12);
        Assert.Equal(2.776 * Math.Sqrt(2.5) / Math.Sqrt(5), spread.HalfInterval, 12);
    }

    [Fact]
    public void Spread_OneValue_DecidesNothing() => Assert.Equal(double.PositiveInfinity, Spread.Of([1]).HalfInterval);

    [Theory]
    [InlineData(new[] { 0.10, 0.11, 0.12, 0.09, 0.10 }, "Reproduced", "5 of 5")]
    [InlineData(new[] { -0.10, -0.11, -0.12, -0.09, -0.10 }, "Opposite", "0 of 5")]
    [InlineData(new[] { 0.30, -0.11, 0.12, -0.09, 0.10 }, "NotReproduced", "3 of 5")]
    [InlineData(new[] { 0.30 }, "NotReproduced", "1 of 1")]
    public void Positive_IsDecidedByTheInterval(double[] perSeed, string outcome, string agreement)
    {
        Claim claim = Claim.Positive("s", "difference", perSeed);
        Assert.Equal(outcome, claim.Outcome.ToString());
        Assert.Contains(agreement, claim.Evidence, StringComparison.Ordinal);
    }

    [Fact]
    public void Lower_WithMoreCompute_IsNotReproducedAtEqualCompute()
    {
        ArmResult method = Arm("m", [0.8, 0.81, 0.79, 0.8, 0.8], 2.2), other = Arm("o", [1.0, 1.01, 0.99, 1.0, 1.0], 2);
        Assert.Equal(Outcome.Reproduced, Claim.Lower("s", method, other, Metric.Loss, "loss", atEqualCompute: false).Outcome);
        Claim matched = Claim.Lower("s", method, other, Metric.Loss, "loss", atEqualCompute: true);
        Assert.Equal(Outcome.NotReproduced, matched.Outcome);
        Assert.Contains("Not at equal compute", matched.Evidence, StringComparison.Ordinal);
    }

    [Fact]
    public void Choose_PassesOverWeightsThatCostMore_UnlessAllDo()
    {
        SweepPoint Point(double weight, double loss, bool within) => new(weight, Spread.Of([loss, loss]), Spread.Of([2, 2]), within);
        Assert.Equal(0.2, ArmResult.Choose([Point(0, 1, false), Point(0.2, 3, true), Point(2, 4, true)]));
        Assert.Equal(0, ArmResult.Choose([Point(0, 1, false), Point(0.2, 3, false)]));
        Assert.Equal(0.2, ArmResult.Choose([Point(2, 1, true), Point(0.2, 1, true)]));
    }

    private static ArmResult Arm(string name, double[] losses, double experts)
    {
        var arm = new Arm { Name = name, Label = name, Role = ArmRole.Method, Router = new RouterSpec { Experts = 4, TopK = 2 }, ExpertWidth = 1, Weights = [0] };
        CellResult Cell(double loss)
        {
            var cell = new CellResult();
            (cell[Metric.Loss], cell[Metric.RealExperts]) = (loss, experts);
            return cell;
        }

        return new ArmResult(arm, [], 0, [.. losses.Select(Cell)]);
    }
}
