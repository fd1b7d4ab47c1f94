using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

public sealed class LoadBiasControllerTests : AutogradTest
{
    private const int Experts = 8;
    private const int Hidden = 16;
    private const int Tokens = 256;

    [Theory]
    [InlineData(ScoreFunction.Sigmoid, SelectionBias.Score)]
    [InlineData(ScoreFunction.Softmax, SelectionBias.Logit)]
    public void Update_EvensTheLoadOut(ScoreFunction score, SelectionBias kind)
    {
        using MoeLayer layer = Layer(kind, score);
        var controller = new LoadBiasController(0.01);
        using var tape = new Tape(Backend, record: false);
        using Tensor x = Random("tokens", Tokens, Hidden);
        double first = 0, last = 0;
        for (int step = 0; step < 150; step++)
        {
            GateResult routing = layer.Forward(tape, tape.Constant(x)).Routing;
            int[] counts = routing.Counts.ToArray<int>();
            last = counts.Max() / counts.Average();
            first = step == 0 ? last : first;
            controller.Update(layer, routing);
            tape.Reset();
        }

        // One batch of 512 slots: the biases stop within a step of 0.01 of even loads.
        Assert.InRange(first, 1.3, 8);
        Assert.InRange(last, 1, 1.15);
    }

    [Fact]
    public void Update_MovesBySign_AndLeavesNullsAndTheMeanAlone()
    {
        RouterSpec spec = RouterSpec.WithNulls(4, 2, 0.5) with { SelectionBias = SelectionBias.Logit };
        using MoeLayer layer = new(Init, "moe", new() { Hidden = 4, ExpertWidth = 2, Router = spec }, 0.5);
        new LoadBiasController(0.25).Update(layer, [1, 9, 5, 5, 40]);
        Assert.Equal([0.25, -0.25, 0, 0, 0], layer.SelectionBias!.ToDoubles());
    }

    [Fact]
    public void RoutersWithoutABias_AndBadRates_AreRefused()
    {
        using MoeLayer layer = Layer(SelectionBias.None, ScoreFunction.Softmax);
        Assert.StartsWith(
            "The load-bias controller needs a router with SelectionBias.Score",
            Assert.Throws<ArgumentException>(() => new LoadBiasController(0.1).Update(layer, new long[Experts])).Message,
            StringComparison.Ordinal);
        Assert.Equal("The rate of the load bias is >= 0 and finite, got -1.", Assert.Throws<ArgumentException>(() => new LoadBiasController(-1)).Message);
    }

    private MoeLayer Layer(SelectionBias bias, ScoreFunction score)
    {
        var spec = new RouterSpec { Experts = Experts, TopK = 2, Score = score, SelectionBias = bias };
        return new(Init, "moe", new() { Hidden = Hidden, ExpertWidth = 2, Router = spec }, 0.5);
    }
}
