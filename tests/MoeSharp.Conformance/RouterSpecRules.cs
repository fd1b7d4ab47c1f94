using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>What a router specification refuses, in which words.</summary>
public sealed class RouterSpecRules
{
    [Theory]
    [InlineData(0, "The threshold of a router is in (0, 1], got 0.")]
    [InlineData(-0.5, "The threshold of a router is in (0, 1], got -0.5.")]
    [InlineData(1.01, "The threshold of a router is in (0, 1], got 1.01.")]
    [InlineData(double.NaN, "The threshold of a router is in (0, 1], got NaN.")]
    public void ThresholdOutOfRange_IsRefused(double threshold, string message) =>
        Refused(RouterSpec.WithThreshold(8, 0.5, 4) with { Threshold = threshold }, message);

    [Theory]
    [InlineData(0)]
    [InlineData(9)]
    public void MostExperts_IsWithinThePool(int most) =>
        Refused(RouterSpec.WithThreshold(8, 0.5, most), $"top-k is 1..8 (the pool has 8 real experts and 0 null slots), got {most}.");

    [Fact]
    public void ThresholdOfSigmoids_IsRefused() => Refused(
        RouterSpec.WithThreshold(8, 0.5, 4) with { Score = ScoreFunction.Sigmoid },
        "A threshold router collects softmax probabilities, this one has ScoreFunction.Sigmoid.");

    [Fact]
    public void ReluWithABias_IsRefused() => Refused(
        RouterSpec.WithRelu(8, 4) with { SelectionBias = SelectionBias.Logit },
        "A ReLU router chooses by the sign of its logits: it takes no selection bias and no groups, this one has SelectionBias.Logit and 1 groups.");

    private static void Refused(RouterSpec spec, string message) => Assert.Equal(message, Assert.Throws<ArgumentException>(spec.Validate).Message);
}
