using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>logits of a layer = W x + V logits of the layer before (MoE++): values, gradients through both layers, and what is refused.</summary>
public sealed class GatingResidualTests : AutogradTest
{
    private const int Tokens = 6;
    private const int Hidden = 5;

    private static MoeOptions Plain { get; } = new() { Hidden = Hidden, ExpertWidth = 3, Router = RouterSpec.WithNulls(4, 3, 0.5) };

    [Fact]
    public void Logits_AddTheMappedLogitsOfTheLayerBefore()
    {
        using MoeLayer first = Layer("first", Plain), second = Layer("second", Plain with { GatingResidual = true });
        using Tensor x = Random("x", Tokens, Hidden);
        using var tape = new Tape(Backend, record: false);
        MoeOutput one = first.Forward(tape, tape.Constant(x));
        MoeOutput two = second.Forward(tape, one.Output, new RouterContext { PreviousLogits = one.Logits });
        double[][] before = Rows(one.Logits!.Value), input = Rows(one.Output.Value), after = Rows(two.Logits!.Value);
        double[][] map = Rows(second.Parameters.Single(p => p.Name == "second.gate.residual.weight").Value);
        double[][] weight = Rows(Assert.IsType<LinearRouter>(second.Router).Weight.Value);
        for (int t = 0; t < Tokens; t++)
        {
            for (int c = 0; c < 5; c++)
            {
                double expected = Dot(weight[c], input[t]) + Dot(map[c], before[t]);
                Assert.Equal(expected, after[t][c], 1e-13);
            }
        }
    }

    [Fact]
    public void GatingResidual_MatchesDifferences()
    {
        using MoeLayer first = Layer("first", Plain), second = Layer("second", Plain with { GatingResidual = true });
        using Parameter projection = ProjectionOf(Tokens, Hidden);
        using Tensor x = Random("x", Tokens, Hidden);
        Passes(GradientCheck.Run(Backend, [.. first.Parameters, .. second.Parameters], tape =>
        {
            MoeOutput one = first.Forward(tape, tape.Constant(x));
            MoeOutput two = second.Forward(tape, one.Output, new RouterContext { PreviousLogits = one.Logits });
            return tape.Add(Project(tape, two.Output, projection), tape.Add(two.BalanceLoss, two.ZLoss));
        }));
    }

    [Fact]
    public void GatingResidual_WithoutLogitsOfTheLayerBefore_SaysWhatIsMissing()
    {
        using MoeLayer layer = Layer("mlp", Plain with { GatingResidual = true });
        using Tensor x = Random("x", Tokens, Hidden);
        using var tape = new Tape(Backend);
        string message = Assert.Throws<ArgumentException>(() => layer.Forward(tape, tape.Constant(x))).Message;
        Assert.Contains("got none; give RouterContext.PreviousLogits", message, StringComparison.Ordinal);
    }

    /// <summary>A layer whose residual map, which starts at 0, is random.</summary>
    private MoeLayer Layer(string name, MoeOptions options)
    {
        var layer = new MoeLayer(Init, name, options, 0.5);
        foreach (Parameter parameter in layer.Parameters.Where(p => p.Name.Contains("residual", StringComparison.Ordinal)))
        {
            Assert.All(parameter.Value.ToDoubles(), value => Assert.Equal(0.0, value));
            using Tensor random = Random(name, parameter.Value.Shape[0], parameter.Value.Shape[1]);
            parameter.Value.FromDoubles(random.ToDoubles());
        }

        return layer;
    }

    private static double[][] Rows(Tensor tensor) => [.. tensor.ToDoubles().Chunk((int)tensor.Shape[1])];

    private static double Dot(double[] a, double[] b) => a.Zip(b, (x, y) => x * y).Sum();
}
