using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>Central differences against the dense layers and a whole block.</summary>
public sealed class LayerGradientTests : AutogradTest
{
    [Fact]
    public void Linear_Layer_MatchesDifferences()
    {
        using var layer = new Linear(Init, "linear", 3, 4, 0.5, bias: true);
        Checks(layer, (tape, x) => layer.Forward(tape, x), 5, 3, 4);
    }

    [Fact]
    public void Embedding_TiedToTheOutput_MatchesDifferences()
    {
        using var table = new Embedding(Init, "embedding", 6, 4, 0.5);
        using Tensor ids = Ints(1, 5, 1), targets = Ints(5, 1, 0);
        Passes(GradientCheck.Run(
            Backend, table.Parameters, tape => tape.CrossEntropy(tape.Linear(table.Forward(tape, ids), table.Weight), targets, out _)));
    }

    [Theory]
    [InlineData(8)]
    [InlineData(4)]
    public void RmsNorm_OfRowsOrHeads_MatchesDifferences(int width)
    {
        using var layer = new RmsNorm(Init, "norm", width, 1e-3);
        layer.Weight.Value.FromDoubles([.. Enumerable.Range(1, width).Select(i => i / 3.0)]);
        Checks(layer, (tape, x) => layer.Forward(tape, x), 3, 8, 8);
    }

    [Fact]
    public void SwiGluMlp_MatchesDifferences()
    {
        using var layer = new SwiGluMlp(Init, "mlp", 4, 5, 0.5);
        Checks(layer, (tape, x) => layer.Forward(tape, x), 3, 4, 4);
    }

    [Theory]
    [InlineData(QueryKeyNorm.None, false)]
    [InlineData(QueryKeyNorm.None, true)]
    [InlineData(QueryKeyNorm.PerHead, false)]
    [InlineData(QueryKeyNorm.Whole, true)]
    public void Attention_WithRopeAndGroupedHeads_MatchesDifferences(QueryKeyNorm norm, bool bias)
    {
        AttentionOptions options = Attention(norm) with { Bias = bias };
        using var layer = new AttentionLayer(Init, "attention", options, 0.5);
        using Tensor positions = Positions(2, 3);
        Checks(layer, (tape, x) => layer.Forward(tape, x, positions, 2, 3), 6, 6, 6);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void TransformerBlock_MatchesDifferences(bool moe)
    {
        var options = new MoeOptions
        {
            Hidden = 6,
            ExpertWidth = 3,
            Router = RouterSpec.WithNulls(experts: 4, topK: 3, rho: 0.5),
            SharedWidth = 2,
        };
        using var block = new TransformerBlock(Init, "block", Attention(QueryKeyNorm.PerHead), moe ? options : null, 4, 1e-3, 0.5);
        using Tensor positions = Positions(2, 3);
        Checks(
            block,
            (tape, x) =>
            {
                BlockOutput output = block.Forward(tape, x, positions, 2, 3);
                Assert.Equal(moe, output.Moe is not null);
                return output.Output;
            },
            6,
            6,
            6);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void TransformerBlock_WithOneSilentHalf_AddsTheOtherToItsInput(bool silentAttention)
    {
        // A half whose output projection is zero adds nothing; the residual stream carries the rest.
        var moe = new MoeOptions { Hidden = 6, ExpertWidth = 3, Router = RouterSpec.WithNulls(4, 3, 0.5) };
        using var block = new TransformerBlock(Init, "block", Attention(QueryKeyNorm.None), moe, 0, 1e-3, 0.5);
        string silent = silentAttention ? "block.self_attn.o_proj.weight" : "block.mlp.experts.down_proj";
        Backend.Fill(block.Parameters.Single(parameter => parameter.Name == silent).Value, 0);
        using var norm = new RmsNorm(Init, "norm", 6, 1e-3);
        using Tensor input = Random("x", 6, 6), positions = Positions(2, 3);
        using var tape = new Tape(Backend);
        Variable x = tape.Constant(input), normed = norm.Forward(tape, x);
        Variable half = silentAttention
            ? block.Moe!.Forward(tape, normed).Output
            : block.Attention.Forward(tape, normed, positions, 2, 3);
        double[] expected = tape.Add(x, half).Value.ToDoubles();
        Assert.Equal(expected, block.Forward(tape, x, positions, 2, 3).Output.Value.ToDoubles());
        Assert.NotEqual(input.ToDoubles(), expected);
    }

    private static AttentionOptions Attention(QueryKeyNorm norm) => new()
    {
        Hidden = 6,
        Heads = 4,
        KeyValueHeads = 2,
        HeadDim = 4,
        Rope = new RopeSpec(4, 100),
        QueryKeyNorm = norm,
        Epsilon = 1e-3,
    };

    private void Checks(Module layer, Func<Tape, Variable, Variable> forward, int rows, int inputs, int outputs)
    {
        using Parameter projection = ProjectionOf(rows, outputs);
        using Tensor x = Random("x", rows, inputs);
        Passes(GradientCheck.Run(Backend, [x], (tape, v) => Project(tape, forward(tape, v[0]), projection)));
        Passes(GradientCheck.Run(Backend, layer.Parameters, tape => Project(tape, forward(tape, tape.Constant(x)), projection)));
    }
}
