using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>Central differences against every dense operation of the tape.</summary>
public sealed class TapeOpsGradientTests : AutogradTest
{
    [Fact]
    public void EveryOp_HasARule() => Assert.All(Enum.GetValues<TapeOp>(), op => Assert.True(GradientRules.Contains(op), op.ToString()));

    [Fact]
    public void Linear_WithBias_MatchesDifferences()
    {
        using Parameter weight = RandomParameter("w", 4, 3), bias = RandomParameter("b", 4), projection = ProjectionOf(5, 4);
        using Tensor x = Random("x", 5, 3);
        Passes(GradientCheck.Run(Backend, [x], (tape, v) => Project(tape, tape.Linear(v[0], weight, bias), projection)));
        Passes(GradientCheck.Run(
            Backend, [weight, bias], tape => Project(tape, tape.Linear(tape.Constant(x), weight, bias), projection)));
    }

    [Fact]
    public void Embedding_RepeatedIds_MatchesDifferences()
    {
        using Parameter table = RandomParameter("table", 6, 3), projection = ProjectionOf(5, 3);
        using Tensor ids = Ints(4, 0, 4, 5, 4);
        Passes(GradientCheck.Run(Backend, [table], tape => Project(tape, tape.Embedding(table, ids), projection)));
    }

    [Fact]
    public void RmsNorm_MatchesDifferences()
    {
        using Parameter weight = RandomParameter("w", 6), projection = ProjectionOf(4, 6);
        using Tensor x = Random("x", 4, 6);
        Passes(GradientCheck.Run(Backend, [x], (tape, v) => Project(tape, tape.RmsNorm(v[0], weight, 1e-2), projection)));
        Passes(GradientCheck.Run(
            Backend, [weight], tape => Project(tape, tape.RmsNorm(tape.Constant(x), weight, 1e-2), projection)));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Rope_MatchesDifferences(bool interleaved)
    {
        using Parameter projection = ProjectionOf(4, 8);
        using Tensor x = Random("x", 4, 8), positions = Ints(0, 3, 1, 7);
        var rope = new RopeSpec(4, 100, interleaved);
        Passes(GradientCheck.Run(Backend, [x], (tape, v) => Project(tape, tape.Rope(v[0], positions, rope), projection)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Attention_GroupedHeads_MatchesDifferences(bool causal)
    {
        using Parameter projection = ProjectionOf(6, 8);
        using Tensor q = Random("q", 6, 8), k = Random("k", 6, 4), v = Random("v", 6, 4);
        var spec = new AttentionSpec(2, 3, 3, Heads: 4, KeyValueHeads: 2, HeadDim: 2, Scale: 0.7, causal);
        Passes(GradientCheck.Run(
            Backend, [q, k, v], (tape, x) => Project(tape, tape.Attention(x[0], x[1], x[2], spec), projection)));
    }

    [Fact]
    public void SwiGlu_MatchesDifferences()
    {
        using Parameter projection = ProjectionOf(4, 3);
        using Tensor z = Random("z", 4, 6);
        Passes(GradientCheck.Run(Backend, [z], (tape, v) => Project(tape, tape.SwiGlu(v[0]), projection)));
    }

    [Fact]
    public void SigmoidGate_MatchesDifferences()
    {
        using Parameter projection = ProjectionOf(4, 3);
        using Tensor x = Random("x", 4, 3), gate = Random("gate", 4, 1);
        Passes(GradientCheck.Run(Backend, [x, gate], (tape, v) => Project(tape, tape.SigmoidGate(v[0], v[1]), projection)));
    }

    [Fact]
    public void AddScaleReshape_OfSharedInputs_MatchDifferences()
    {
        // x is used by both sides of one sum, through a reshape there and back (twice), scaled, and beside y: gradients are shared,
        // added in place and added out of place.
        using Parameter projection = ProjectionOf(2, 3);
        using Tensor x = Random("x", 4, 3), y = Random("y", 4, 3);
        Passes(GradientCheck.Run(Backend, [x, y], (tape, v) =>
        {
            Variable doubled = tape.Add(v[0], v[0]);
            Variable back = tape.Reshape(tape.Reshape(v[0], 2, 6), 4, 3);
            Variable sum = tape.Add(tape.Add(doubled, back), tape.Add(tape.Scale(v[0], -2.5), v[1]));
            Variable bent = tape.SwiGlu(tape.Reshape(tape.Add(sum, back), 2, 6));
            return Project(tape, tape.Add(bent, tape.SwiGlu(tape.Reshape(sum, 2, 6))), projection);
        }));
    }

    [Fact]
    public void Add_OfTwoSumsWithOneCommonLeaf_KeepsTheOtherGradientsApart()
    {
        // When the second gradient reaches x, both it and the first are also the gradients of z and y: neither may be overwritten.
        using Parameter first = RandomParameter("first", 1, 6), second = RandomParameter("second", 1, 6);
        using Tensor x = Random("x", 2, 3), y = Random("y", 2, 3), z = Random("z", 2, 3);
        Passes(GradientCheck.Run(Backend, [x, y, z], (tape, v) =>
        {
            Variable withY = tape.Add(v[0], v[1]), withZ = tape.Add(v[0], v[2]);
            return tape.Add(Project(tape, withY, first), Project(tape, withZ, second));
        }));
    }

    [Fact]
    public void CrossEntropy_WithIgnoredTarget_MatchesDifferences()
    {
        using Tensor logits = Random("logits", 5, 4), targets = Ints(3, 0, -1, 2, 2);
        Passes(GradientCheck.Run(Backend, [logits], (tape, v) => tape.CrossEntropy(v[0], targets, out _)));
    }

    [Fact]
    public void GradientCheck_OfAFunctionWhoseGradientIsHalf_ReportsIt()
    {
        // The second term hides its input from the tape, so that the analytic gradient is half of the true one.
        using Parameter projection = ProjectionOf(2, 3);
        using Tensor x = Random("x", 2, 3);
        double[] before = x.ToDoubles();
        GradientCheckResult result = GradientCheck.Run(
            Backend, [x], (tape, v) => Project(tape, tape.Add(v[0], tape.Constant(x)), projection));
        Assert.Equal(0.5, result.MaxRelativeError, 1e-6);
        Assert.Equal("input 0", result.TensorName);
        Assert.Equal(projection.Value.ToDoubles()[result.ElementIndex], result.Analytic);
        Assert.Equal(6, result.ElementsChecked);
        Assert.Equal(before, x.ToDoubles());
    }
}
