using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>The wiring of a MoE layer against its formula written out for one token.</summary>
public sealed class MoeLayerForwardTests : AutogradTest
{
    private const int Hidden = 5;
    private const int Width = 3;
    private const int SharedWidth = 4;
    private const int Experts = 3;

    [Fact]
    public void Forward_WithEveryOption_IsTheFormula()
    {
        // Slots 0..2 real, 3 zero, 4 identity, 5 and 6 constant; raw softmax weights times 1.5 over all seven slots, all chosen.
        var options = new MoeOptions
        {
            Hidden = Hidden,
            ExpertWidth = Width,
            Router = new RouterSpec
            {
                Experts = Experts,
                TopK = 7,
                Nulls = [new(NullKind.Zero, 1), new(NullKind.Identity, 1), new(NullKind.Constant, 2)],
                SharedNullLogit = false,
                Renormalize = Renormalize.None,
                Scale = 1.5,
            },
            SharedWidth = SharedWidth,
            SharedGate = true,
            RouterBias = true,
            InputScale = 2,
        };
        using var layer = new MoeLayer(Init, "mlp", options, 0.5);
        Dictionary<string, Parameter> named = layer.Parameters.ToDictionary(parameter => parameter.Name["mlp.".Length..]);
        named["gate.bias"].Value.FromDoubles([0.1, -0.2, 0.3, -0.4, 0.5, -0.6, 0.7]);
        using Tensor input = Random("x", 1, Hidden);
        using var tape = new Tape(Backend, record: false);
        double[] actual = layer.Forward(tape, tape.Constant(input)).Output.Value.ToDoubles();

        double[] x = input.ToDoubles();
        double[] logits = Times(W("gate.weight"), [.. x.Select(value => 2 * value)], 0);
        double[] scores = Softmax([.. logits.Zip(W("gate.bias"), (logit, bias) => logit + bias)]);
        double[] expected = new double[Hidden];
        for (int expert = 0; expert < Experts; expert++)
        {
            double[] y = Mlp(x, W("experts.gate_up_proj"), W("experts.down_proj"), expert, Width);
            Add(expected, 1.5 * scores[expert], y);
        }

        Add(expected, 1.5 * scores[4], x);
        double[] mix = Times(W("constant_experts.mix.weight"), x, 0);
        for (int constant = 0; constant < 2; constant++)
        {
            double[] shares = Softmax(mix[(2 * constant)..((2 * constant) + 2)]);
            Add(expected, 1.5 * scores[5 + constant] * shares[0], x);
            Add(expected, 1.5 * scores[5 + constant] * shares[1], W("constant_experts.constants")[(constant * Hidden)..]);
        }

        double gate = 1 / (1 + Math.Exp(-Times(W("shared_expert_gate.weight"), x, 0)[0]));
        double[] shared = Mlp(x, W("shared_expert.gate_up_proj.weight"), W("shared_expert.down_proj.weight"), 0, SharedWidth);
        Add(expected, gate, shared);

        // Some 50 roundings of values of order 1.
        Assert.All(expected.Zip(actual), pair => Assert.Equal(pair.First, pair.Second, 1e-14));

        double[] W(string name) => named[name].Value.ToDoubles();
    }

    /// <summary>W x for all rows of W from an offset on.</summary>
    private static double[] Times(double[] weights, double[] x, int offset) =>
        [.. weights[offset..].Chunk(x.Length).Select(row => row.Zip(x, (w, value) => w * value).Sum())];

    private static double[] Mlp(double[] x, double[] up, double[] down, int expert, int width)
    {
        double[] z = Times(up, x, expert * 2 * width * Hidden);
        double[] a = [.. Enumerable.Range(0, width).Select(i => z[i] / (1 + Math.Exp(-z[i])) * z[width + i])];
        return Times(down, a, expert * Hidden * width)[..Hidden];
    }

    private static double[] Softmax(double[] logits)
    {
        double sum = logits.Sum(Math.Exp);
        return [.. logits.Select(logit => Math.Exp(logit) / sum)];
    }

    private static void Add(double[] sum, double weight, double[] values)
    {
        for (int i = 0; i < sum.Length; i++)
        {
            sum[i] += weight * values[i];
        }
    }
}
