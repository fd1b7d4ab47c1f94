using MoeSharp.Core;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

public sealed class SamplerTests
{
    [Fact]
    public void Choose_AtTemperatureZero_TakesTheLargestAndTheLowerOnATie()
    {
        Assert.Equal(2, Sampler.Choose([0, 1, 3, 2], 0, 1, 0.99));
        Assert.Equal(1, Sampler.Choose([0, 3, 3], 0, 1, 0.99));
    }

    [Fact]
    public void Choose_FollowsTheSoftmax()
    {
        double[] logits = [Math.Log(1), Math.Log(2), Math.Log(5)];
        var counts = new int[3];
        var random = new CounterRandom(1, 1);
        const int Draws = 40_000;
        for (int i = 0; i < Draws; i++)
        {
            counts[Sampler.Choose(logits, 1, 1, random.Uniform((ulong)i))]++;
        }

        for (int i = 0; i < 3; i++)
        {
            double p = Math.Exp(logits[i]) / 8, deviation = Math.Sqrt(p * (1 - p) / Draws);
            Assert.InRange(counts[i] / (double)Draws, p - (5 * deviation), p + (5 * deviation));
        }
    }

    [Fact]
    public void Choose_DividesLogitsByTheTemperature()
    {
        // exp(1 / 0.5) = exp(2): token 1 has probability e^2 / (1 + e^2) = 0.8808.
        Assert.Equal(1, Sampler.Choose([0, 1], 0.5, 1, 0.8807));
        Assert.Equal(0, Sampler.Choose([0, 1], 0.5, 1, 0.8809));
    }

    [Fact]
    public void Choose_KeepsTheSmallestSetThatReachesTopP()
    {
        // Probabilities 5/8, 2/8, 1/8: 0.6 keeps one, 0.7 keeps two.
        double[] logits = [Math.Log(1), Math.Log(2), Math.Log(5)];
        Assert.Equal(2, Sampler.Choose(logits, 1, 0.6, 0.999));
        Assert.Equal(1, Sampler.Choose(logits, 1, 0.7, 0.999));
        Assert.Equal(0, Sampler.Choose(logits, 1, 1, 0.999));
    }

    [Fact]
    public void Choose_WithHugeLogits_StaysFinite() => Assert.Equal(1, Sampler.Choose([-1e300, 1e300, double.NegativeInfinity], 0.1, 0.9, 0.5));

    [Theory]
    [InlineData(-1, 0.9, 0.5)]
    [InlineData(double.NaN, 0.9, 0.5)]
    [InlineData(1, 0, 0.5)]
    [InlineData(1, 1.1, 0.5)]
    [InlineData(1, 0.9, 1)]
    public void Choose_RefusesParametersOutOfRange(double temperature, double topP, double uniform) =>
        Assert.Throws<ArgumentException>(() => Sampler.Choose([1, 2], temperature, topP, uniform));

    [Fact]
    public void Choose_RefusesNaN() => Assert.Throws<ArgumentException>(() => Sampler.Choose([1, double.NaN], 1, 1, 0));
}
