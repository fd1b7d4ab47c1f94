using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

public sealed class NullRateControllerTests : AutogradTest
{
    private const int Experts = 8;
    private const int Hidden = 16;
    private const int Tokens = 256;

    [Theory]
    [InlineData(0.25)]
    [InlineData(0.5)]
    [InlineData(0.75)]
    public void Update_MovesTheRealShareToTheTargetWithoutSwinging(double rho)
    {
        // The pool has copies for one half, so the other targets are reached by the bias alone. Every step brings new tokens.
        using MoeLayer layer = Layer(SelectionBias.Logit);
        var controller = new NullRateController(rho, rate: 0.2);
        using var tape = new Tape(Backend, record: false);
        var shares = new List<double>();
        for (int step = 0; step < 200; step++)
        {
            using Tensor x = Random($"tokens {step}", Tokens, Hidden);
            GateResult routing = layer.Forward(tape, tape.Constant(x)).Routing;
            shares.Add(NullRateController.RealShare(layer.Options.Router, routing));
            controller.Update(layer, routing);
            tape.Reset();
        }

        // 1024 slots of one batch: a share is known to about 0.5 / sqrt(256) = 3 %, slots of one token being dependent; four of these
        // bound a single batch once the controller settled, and 100 batches average it down ten times.
        Assert.Equal(rho, shares[100..].Average(), 0.0125);
        Assert.All(shares[100..], share => Assert.Equal(rho, share, 0.125));
    }

    [Fact]
    public void Update_OfOneBatch_ApproachesFromOneSide()
    {
        using MoeLayer layer = Layer(SelectionBias.Logit);
        var controller = new NullRateController(0.25, rate: 0.1);
        using var tape = new Tape(Backend, record: false);
        using Tensor x = Random("tokens", Tokens, Hidden);
        double last = 1;
        for (int step = 0; step < 200; step++)
        {
            GateResult routing = layer.Forward(tape, tape.Constant(x)).Routing;
            double share = NullRateController.RealShare(layer.Options.Router, routing);

            // A step of the bias moves a few slots of 1024 at a time: at most 1 % beyond the target.
            Assert.InRange(share, 0.24, Math.Max(last, 0.26));
            last = share;
            controller.Update(layer, routing);
            tape.Reset();
        }

        Assert.InRange(last, 0.24, 0.26);
    }

    [Fact]
    public void Update_ChangesNullColumnsOnly()
    {
        using MoeLayer layer = Layer(SelectionBias.Logit);
        new NullRateController(0.5, rate: 0.1).Update(layer, 0.75);
        double[] bias = layer.SelectionBias!.ToDoubles();
        Assert.All(bias[..Experts], value => Assert.Equal(0, value));
        Assert.Equal(0.025, bias[Experts]);
        new NullRateController(0.5, rate: 0.1).Update(layer, double.NaN);
        Assert.Equal(bias, layer.SelectionBias.ToDoubles());
    }

    [Fact]
    public void Update_WithoutABiasOnLogits_IsRejected()
    {
        using MoeLayer layer = Layer(SelectionBias.None);
        Assert.Throws<ArgumentException>(() => new NullRateController(0.5, 0.1).Update(layer, 0.5));
    }

    private MoeLayer Layer(SelectionBias bias) => new(
        Init,
        "mlp",
        new MoeOptions { Hidden = Hidden, ExpertWidth = 2, Router = RouterSpec.WithNulls(Experts, 4, 0.5) with { SelectionBias = bias } },
        0.5);
}
