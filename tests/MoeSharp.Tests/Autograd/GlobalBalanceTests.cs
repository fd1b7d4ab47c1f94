using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>Micro-batches with the loads of the whole step against the one batch of all their tokens.</summary>
public sealed class GlobalBalanceTests : AutogradTest
{
    private const int MicroBatches = 3;
    private const int Tokens = 8;
    private const int Hidden = 5;

    public static TheoryData<string> Names => [.. Routers.Keys];

    private static Dictionary<string, RouterSpec> Routers { get; } = new()
    {
        ["null experts"] = RouterSpec.WithNulls(4, 3, 0.5),
        ["a logit per null slot, average balance"] = RouterSpec.WithNulls(4, 3, 0.5) with { SharedNullLogit = false, NullBalance = NullBalance.Average },
        ["sigmoid, selection bias"] = RouterSpec.WithNulls(4, 3, 0.5) with { Score = ScoreFunction.Sigmoid, SelectionBias = SelectionBias.Logit },
        ["threshold, top-1 loads"] = RouterSpec.WithThreshold(5, 0.6, 4),
        ["relu"] = RouterSpec.WithRelu(5, 3),
    };

    [Theory]
    [MemberData(nameof(Names))]
    public void LossAndGradient_AreThoseOfOneBatch(string name)
    {
        using var layer = new MoeLayer(Init, "mlp", new MoeOptions { Hidden = Hidden, ExpertWidth = 3, Router = Routers[name] }, 0.5);
        (double loss, double[] gradient) = OneBatch(layer);
        (double together, double[] gradientTogether) = Accumulated(layer, global: true);
        (double apart, double[] gradientApart) = Accumulated(layer, global: false);

        // Sums of some hundred terms of order 1 in another order.
        Assert.Equal(loss, together, 1e-13);
        Assert.All(gradient.Zip(gradientTogether), pair => Assert.Equal(pair.First, pair.Second, 1e-13));

        // The mixes of the micro-batches differ, so balancing each by itself is something else.
        Assert.True(Math.Abs(loss - apart) > 1e-3, $"{loss} and {apart}");
        Assert.True(gradient.Zip(gradientApart, (x, y) => Math.Abs(x - y)).Max() > 1e-4);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void GradientWithOtherLoads_MatchesDifferences(string name)
    {
        RouterSpec router = Routers[name];
        using var layer = new MoeLayer(Init, "mlp", new MoeOptions { Hidden = Hidden, ExpertWidth = 3, Router = router }, 0.5);
        using Tensor others = Backend.From<int>([.. Enumerable.Range(0, router.Columns).Select(c => 7 * c)], router.Columns), x = Input(0, 1);
        layer.Router.OtherLoads = others;
        Passes(GradientCheck.Run(Backend, [((LinearRouter)layer.Router).Weight], tape => layer.Forward(tape, tape.Constant(x)).BalanceLoss));
    }

    [Fact]
    public void Leave_BalancesEveryPassByItselfAgain()
    {
        using var layer = new MoeLayer(Init, "mlp", new MoeOptions { Hidden = Hidden, ExpertWidth = 3, Router = Routers["null experts"] }, 0.5);
        (double before, _) = Accumulated(layer, global: false);
        (double global, _) = Accumulated(layer, global: true);
        (double after, _) = Accumulated(layer, global: false);
        Assert.NotEqual(before, global);
        Assert.Equal(before, after);
        Assert.Null(layer.Router.OtherLoads);
    }

    /// <summary>The tokens of some micro-batches; each prefers other experts than the one before.</summary>
    private Tensor Input(int first, int count)
    {
        using Tensor all = Random("tokens", MicroBatches * Tokens, Hidden);
        double[] values = all.ToDoubles();
        for (int i = 0; i < values.Length; i++)
        {
            values[i] += i % Hidden == i / (Tokens * Hidden) ? 2 : 0;
        }

        return Backend.FromDoubles(values.AsSpan(first * Tokens * Hidden, count * Tokens * Hidden), count * Tokens, Hidden);
    }

    private (double Loss, double[] Gradient) OneBatch(MoeLayer layer)
    {
        layer.ZeroGradients();
        using var tape = new Tape(Backend);
        using Tensor x = Input(0, MicroBatches);
        Variable loss = layer.Forward(tape, tape.Constant(x)).BalanceLoss;
        tape.Backward(loss);
        return (loss.Value.ToDoubles()[0], ((LinearRouter)layer.Router).Weight.Gradient.ToDoubles());
    }

    private (double Loss, double[] Gradient) Accumulated(MoeLayer layer, bool global)
    {
        layer.ZeroGradients();
        using var tape = new Tape(Backend);
        using GlobalBalance? balance = global ? new GlobalBalance(Backend, [layer], MicroBatches) : null;
        balance?.Clear();
        double loss = 0;
        for (int micro = 1; micro < MicroBatches && global; micro++)
        {
            _ = Pass(micro);
            tape.Reset();
        }

        for (int micro = 0; micro < MicroBatches; micro++)
        {
            balance?.Enter(micro);
            Variable own = Pass(micro);
            loss += own.Value.ToDoubles()[0] / MicroBatches;
            tape.Backward(own, 1.0 / MicroBatches);
            tape.Reset();
        }

        return (loss, ((LinearRouter)layer.Router).Weight.Gradient.ToDoubles());

        Variable Pass(int micro)
        {
            using Tensor drawn = Input(micro, 1);
            Tensor x = tape.Rent(Backend.FloatType, [.. drawn.Shape]);
            x.FromDoubles(drawn.ToDoubles());
            MoeOutput output = layer.Forward(tape, tape.Constant(x));
            balance?.Record(micro, [output]);
            return output.BalanceLoss;
        }
    }
}
