using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>Gradients of vector quantisation on the tape. Both stop-gradients are part of the definition, so difference quotients see other functions, which are named here.</summary>
public sealed class QuantizeTests : AutogradTest
{
    [Theory]
    [InlineData(CodeDistance.Euclidean)]
    [InlineData(CodeDistance.Cosine)]
    public void Loss_TrainsRowsWithTheCommitment_AndCodesWithTheRest(CodeDistance distance)
    {
        // The value is (1 + c) times the mean distance; rows get c parts of its gradient and codes 1: scaled back, both match differences.
        var spec = new QuantizerSpec { Distance = distance, Commitment = 0.5 };
        using Parameter codebook = RandomParameter("codes", 3, 4);
        using Tensor x = Random("x", 6, 4);
        foreach ((double share, bool rows) in ((double, bool)[])[(0.5, true), (1, false)])
        {
            using var tape = new Tape(Backend);
            Variable leaf = tape.Input(x);
            codebook.ZeroGradient();
            tape.Backward(tape.Quantize(leaf, codebook, spec).Loss, 1.5 / share);
            double[] analytic = rows ? leaf.Gradient!.ToDoubles() : codebook.Gradient.ToDoubles();
            Tensor moved = rows ? x : codebook.Value;
            double[] at = moved.ToDoubles();
            for (int i = 0; i < at.Length; i++)
            {
                double numeric = (LossAt(at[i] + 1e-5) - LossAt(at[i] - 1e-5)) / 2e-5;
                Assert.Equal(numeric, analytic[i], 1e-7);

                double LossAt(double value)
                {
                    double[] other = [.. at];
                    other[i] = value;
                    moved.FromDoubles(other);
                    using var plain = new Tape(Backend, record: false);
                    double loss = plain.Quantize(plain.Constant(x), codebook, spec).Loss.Value.ToDoubles()[0];
                    moved.FromDoubles(at);
                    return loss;
                }
            }
        }
    }

    [Fact]
    public void Output_IsTheMix_AndItsGradientGoesStraightThrough()
    {
        using Parameter codebook = RandomParameter("codes", 3, 4), projection = ProjectionOf(5, 4);
        using Tensor x = Random("x", 5, 4);
        double[] rows = x.ToDoubles(), codes = codebook.Value.ToDoubles();
        foreach ((QuantizerSpec spec, double ofRow, double through) in ((QuantizerSpec, double, double)[])
            [(new() { Mix = 0.3 }, 0.7, 1), (new() { Mix = 0.3, Carry = QuantizerSpec.LiteralCarry(0.3) }, 0.4, 0.7), (new() { Mix = 0.3, Carry = 0 }, -0.3, 0)])
        {
            using var tape = new Tape(Backend);
            Variable leaf = tape.Input(x);
            QuantizeNode node = tape.Quantize(leaf, codebook, spec);
            int[] code = node.Codes.ToArray<int>();
            double[] y = node.Output.Value.ToDoubles();
            tape.Backward(Project(tape, node.Output, projection));
            for (int i = 0; i < rows.Length; i++)
            {
                Assert.Equal((ofRow * rows[i]) + (0.3 * codes[(code[i / 4] * 4) + (i % 4)]), y[i], 1e-12);
                Assert.Equal(through * projection.Value.ToDoubles()[i], leaf.Gradient!.ToDoubles()[i], 1e-12);
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Project_MatchesDifferences(bool back)
    {
        using Parameter projection = ProjectionOf(5, back ? 4 : 3);
        using Tensor x = Random("x", 5, back ? 3 : 4), weight = Random("w", 3, 4);
        Passes(GradientCheck.Run(Backend, [x], (tape, v) => Project(tape, tape.Project(v[0], weight, back), projection)));
    }
}
