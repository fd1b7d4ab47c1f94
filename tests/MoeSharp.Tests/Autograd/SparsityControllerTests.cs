using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

public sealed class SparsityControllerTests : AutogradTest
{
    [Fact]
    public void Update_MultipliesTowardsTheTarget()
    {
        var controller = new SparsityController(0.75, coefficient: 1, factor: 2);
        controller.Update(0.5);
        Assert.Equal(2, controller.Coefficient);
        controller.Update(0.75);
        controller.Update(double.NaN);
        Assert.Equal(2, controller.Coefficient);
        controller.Update(0.8);
        controller.Update(0.8);
        Assert.Equal(0.5, controller.Coefficient);
    }

    [Fact]
    public void Training_ReachesTheWantedSparsity()
    {
        // Only the regulariser and its controller: plain descent on the router of a layer whose experts fire half of the time at first.
        const int Tokens = 64, Hidden = 8, Experts = 8;
        RouterSpec spec = RouterSpec.WithRelu(Experts, Experts);
        using var layer = new MoeLayer(Init, "moe", new() { Hidden = Hidden, ExpertWidth = 2, Router = spec, RouterBias = true }, 0.5);
        Parameter bias = layer.Parameters.Single(parameter => parameter.Name == "moe.gate.bias");
        var controller = new SparsityController(0.75, coefficient: 0.01);
        using Tensor x = Random("x", Tokens, Hidden);
        var sparsity = new List<double>();
        for (int step = 0; step < 150; step++)
        {
            using var tape = new Tape(Backend);
            MoeOutput output = layer.Forward(tape, tape.Constant(x));
            sparsity.Add(SparsityController.Sparsity(spec, output.Routing));
            tape.Backward(tape.Scale(output.BalanceLoss, controller.Coefficient));
            controller.Update(sparsity[^1]);
            double[] gradient = bias.Gradient.ToDoubles(), value = bias.Value.ToDoubles();

            // A pull of the task against the regulariser stands in for a loss that wants experts.
            bias.Value.FromDoubles([.. value.Zip(gradient, (v, g) => v - (0.5 * (g - 0.05)))]);
            foreach (Parameter parameter in layer.Parameters)
            {
                Backend.Fill(parameter.Gradient, 0);
            }
        }

        Assert.InRange(sparsity[0], 0.4, 0.6);
        Assert.Equal(0.75, sparsity[100..].Average(), 0.05);
    }

    [Fact]
    public void ValuesOutOfRange_AreRefused()
    {
        Assert.Equal("The target sparsity is in [0, 1), got 1.", Assert.Throws<ArgumentException>(() => new SparsityController(1)).Message);
        Assert.Equal("The factor of a step is > 1 and finite, got 1.", Assert.Throws<ArgumentException>(() => new SparsityController(0.5, 1, 1)).Message);
    }
}
