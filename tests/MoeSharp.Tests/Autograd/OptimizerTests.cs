using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

public sealed class OptimizerTests : AutogradTest
{
    private static readonly AdamWOptions s_halves = new() { Beta1 = 0.5, Beta2 = 0.5, Epsilon = 0, WeightDecay = 0.1, ClipNorm = 0 };

    [Fact]
    public void AdamW_TwoSteps_MatchHandComputedValues()
    {
        // p = 1, gradients 1 then 3, betas 1/2, rate 0.1, decay 0.1.
        // Step 1: m = 1/2, v = 1/2, both corrected to 1: p = 1 - 0.1 (1 + 0.1) = 0.89.
        // Step 2: m = 7/4, corrected 7/3; v = 19/4, corrected 19/3: p = 0.89 - 0.1 (7/3 / sqrt(19/3) + 0.089).
        using var parameter = new Parameter("p", Backend.FromDoubles([1], 1));
        using var optimizer = new AdamW(Backend, [parameter], s_halves);
        parameter.Gradient.FromDoubles([1]);
        optimizer.Update(0.1);
        Assert.Equal(0.89, parameter.Value.ToDoubles()[0], 1e-15);
        parameter.Gradient.FromDoubles([3]);
        optimizer.Update(0.1);
        Assert.Equal(0.89 - (0.1 * ((7.0 / 3 / Math.Sqrt(19.0 / 3)) + 0.089)), parameter.Value.ToDoubles()[0], 1e-15);
        Assert.Equal(2, optimizer.Step);
        Assert.Equal(
            [("p.m", 1.75), ("p.v", 4.75)], optimizer.State.Select(state => (state.Name, state.Value.ToDoubles()[0])));
        Assert.Equal([3.0], optimizer.LastNorm.ToDoubles());
    }

    [Fact]
    public void AdamW_OnAQuadratic_ReachesTheMinimum()
    {
        // The steps of Adam are at most about the rate, so 2 / 0.01 steps reach it and a decaying rate stays within the last rate.
        using var parameter = new Parameter("p", Backend.FromDoubles([2, -1], 2));
        using var optimizer = new AdamW(Backend, [parameter], new AdamWOptions { WeightDecay = 0 });
        for (int step = 1; step <= 1000; step++)
        {
            parameter.Gradient.FromDoubles(parameter.Value.ToDoubles());
            optimizer.Update(LearningRate.WarmupCosine(step, 10, 1000, 0.01, 1e-4));
        }

        Assert.All(parameter.Value.ToDoubles(), value => Assert.Equal(0, value, 0.01));
    }

    [Fact]
    public void AdamW_NoDecay_LeavesAParameterWithoutGradientAlone()
    {
        using var norm = new Parameter("norm", Backend.FromDoubles([1], 1), decay: false);
        using var weight = new Parameter("weight", Backend.FromDoubles([1], 1));
        using var optimizer = new AdamW(Backend, [norm, weight], s_halves with { Epsilon = 1e-8 });
        optimizer.Update(0.1);
        Assert.Equal(1.0, norm.Value.ToDoubles()[0]);
        Assert.Equal(0.99, weight.Value.ToDoubles()[0], 1e-15);
    }

    [Fact]
    public void AdamW_Clipping_UsesTheNormOfAllGradientsTogether()
    {
        using var a = new Parameter("a", Backend.FromDoubles([0], 1));
        using var b = new Parameter("b", Backend.FromDoubles([0, 0], 2));
        using var optimizer = new AdamW(Backend, [a, b], s_halves with { ClipNorm = 1 });
        a.Gradient.FromDoubles([3]);
        b.Gradient.FromDoubles([0, 4]);
        optimizer.Update(0.1);
        Assert.Equal(5, optimizer.LastNorm.ToDoubles()[0], 1e-15);
        Dictionary<string, double[]> state = optimizer.State.ToDictionary(pair => pair.Name, pair => pair.Value.ToDoubles());
        double factor = 1 / (5 + 1e-6);
        Assert.Equal(0.5 * 3 * factor, state["a.m"][0], 1e-15);
        Assert.Equal(0.5 * 4 * factor, state["b.m"][1], 1e-15);
        optimizer.ZeroGradients();
        Assert.All((Parameter[])[a, b], parameter => Assert.All(parameter.Gradient.ToDoubles(), value => Assert.Equal(0, value)));
    }

    [Fact]
    public void AdamW_StateAndStep_ResumeBitForBit()
    {
        using Parameter first = RandomParameter("p", 4), second = RandomParameter("p", 4);
        using AdamW kept = new(Backend, [first]), resumed = new(Backend, [second]);
        first.Gradient.FromDoubles([1, -2, 3, 0.5]);
        kept.Update(0.1);
        second.Value.FromDoubles(first.Value.ToDoubles());
        foreach (((string _, Tensor from), (string _, Tensor to)) in kept.State.Zip(resumed.State))
        {
            to.FromDoubles(from.ToDoubles());
        }

        resumed.Step = kept.Step;
        second.Gradient.FromDoubles(first.Gradient.ToDoubles());
        kept.Update(0.05);
        resumed.Update(0.05);
        Assert.Equal(first.Value.ToDoubles(), second.Value.ToDoubles());
    }

    [Fact]
    public void AdamW_EqualNames_AreRejected()
    {
        using Parameter first = RandomParameter("p", 1), second = RandomParameter("p", 1);
        string message = Assert.Throws<ArgumentException>(() => new AdamW(Backend, [first, second])).Message;
        Assert.Contains("'p'", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, 0.0)]
    [InlineData(1, 0.1)]
    [InlineData(5, 0.5)]
    [InlineData(10, 1.0)]
    [InlineData(60, 0.55)]
    [InlineData(110, 0.1)]
    [InlineData(1000, 0.1)]
    public void WarmupCosine_Values(long step, double expected) =>
        Assert.Equal(expected, LearningRate.WarmupCosine(step, 10, 110, peak: 1, floor: 0.1), 1e-15);

    [Fact]
    public void WarmupCosine_QuarterOfTheDecay_IsTheCosineOfFortyFiveDegrees() =>
        Assert.Equal(0.1 + (0.9 * 0.5 * (1 + Math.Sqrt(0.5))), LearningRate.WarmupCosine(35, 10, 110, 1, 0.1), 1e-15);

    [Fact]
    public void WarmupCosine_WarmupBeyondTotal_IsRejected() =>
        Assert.Throws<ArgumentException>(() => LearningRate.WarmupCosine(1, 11, 10, 1, 0.1));
}
