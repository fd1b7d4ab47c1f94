using System.Text;
using MoeSharp.Autograd;
using MoeSharp.Compression;
using MoeSharp.Core;
using MoeSharp.Cpu;
using MoeSharp.Models;
using MoeSharp.Reference;
using Xunit;

namespace MoeSharp.Tests;

public sealed class DenseSplitTests : IDisposable
{
    private static readonly ModelConfig s_dense =
        Presets.Get("tiny").Model with { ContextLength = 16, DenseWidth = 24, Experts = 0, ExpertWidth = 0, TopK = 0 };

    private readonly ReferenceBackend _backend = new();

    public void Dispose() => _backend.Dispose();

    [Theory]
    [InlineData(2, NeuronPartition.Clustered)]
    [InlineData(3, NeuronPartition.Clustered)]
    [InlineData(24, NeuronPartition.Clustered)]
    [InlineData(4, NeuronPartition.Contiguous)]
    public void Split_ComputesWhatTheDenseModelDoes(int experts, NeuronPartition partition)
    {
        using Transformer dense = Sharp(_backend);
        using Transformer split = DenseSplit.Split(dense, experts, partition);
        Assert.Equal((experts, 24 / experts), (split.Config.Experts, split.Config.ExpertWidth));
        (double[] expected, _) = Run(dense);
        (double[] actual, int[][] ids) = Run(split);

        // The same terms of order 1 in another order of double rounding: 1e-16 per operation, some 1e3 operations deep.
        Assert.True(expected.Max(Math.Abs) > 1, "the model of this test is too dull to show an error");
        Assert.True(expected.Zip(actual, (x, y) => Math.Abs(x - y)).Max() < 1e-12);
        Assert.All(ids, layer => Assert.All(layer.Chunk(experts), token => Assert.Equal(Enumerable.Range(0, experts), token.Order())));
    }

    [Fact]
    public void Split_InFloat32_MovesBitsPerByteByRoundingOnly()
    {
        using var cpu = new CpuBackend(1);
        using Transformer dense = Sharp(cpu);
        using Transformer split = DenseSplit.Split(dense, 6);
        byte[] text = Encoding.UTF8.GetBytes(Samples.Program(6));
        double before = Evaluator.Run(dense, text, 4, long.MaxValue, TestContext.Current.CancellationToken).BitsPerByte;
        double after = Evaluator.Run(split, text, 4, long.MaxValue, TestContext.Current.CancellationToken).BitsPerByte;

        // Sums of 24 terms in another order, 6e-8 each, two layers; logits up to about 30.
        Assert.Equal(before, after, 24 * 6e-8 * 2 * 30);
    }

    [Fact]
    public void Split_AtALowerThreshold_TakesFewerExperts()
    {
        using Transformer dense = Sharp(_backend);
        using Transformer split = DenseSplit.Split(dense, 8);
        split.MoeLayers[0].Router.SetThreshold(0.5);
        (_, int[][] ids) = Run(split);

        // Eight experts of probability 1/8 each: four reach one half.
        Assert.All(ids[0].Chunk(8), token => Assert.Equal(4, token.Count(id => id >= 0)));
        Assert.All(ids[1].Chunk(8), token => Assert.Equal(8, token.Count(id => id >= 0)));
    }

    [Fact]
    public void Clustered_PutsNeuronsThatLookAtOneDirectionTogether()
    {
        using Transformer dense = Sharp(_backend);
        Tensor weight = dense.DenseLayers[0].GateUp.Weight.Value;
        double[] rows = weight.ToDoubles();
        for (int neuron = 0; neuron < 24; neuron++)
        {
            for (int i = 0; i < 32; i++)
            {
                // Six neurons look along each of four axes, at different strengths, with a little of everything else.
                rows[(neuron * 32) + i] = (i == neuron % 4 ? 1 + (0.1 * neuron) : 0) + (0.01 * rows[(neuron * 32) + i]);
            }
        }

        weight.FromDoubles(rows);
        using Transformer split = DenseSplit.Split(dense, 4);
        double[] w1 = split.MoeLayers[0].W1.Value.ToDoubles();
        for (int expert = 0; expert < 4; expert++)
        {
            int[] axes = [.. Enumerable.Range(0, 6).Select(i => Axis(w1.AsSpan(((expert * 12) + i) * 32, 4)))];
            Assert.All(axes, axis => Assert.Equal(expert, axis));
        }

        static int Axis(ReadOnlySpan<double> row)
        {
            double[] values = row.ToArray();
            return Array.IndexOf(values, values.Max());
        }
    }

    [Fact]
    public void Split_IntoNumbersThatDoNotFit_SaysWhichDo()
    {
        Assert.Equal(
            "A width of 24 does not split into 5 experts of equal width; choose one of 2, 3, 4, 6, 8, 12, 24.",
            Assert.Throws<ArgumentException>(() => DenseSplit.Configuration(s_dense, 5)).Message);
        Assert.Throws<ArgumentException>(() => DenseSplit.Configuration(s_dense, 1));
        Assert.Equal(
            "Only a dense model can be split; this one has 4 experts in every layer.",
            Assert.Throws<ArgumentException>(() => DenseSplit.Configuration(Presets.Get("tiny").Model, 2)).Message);
    }

    private static Transformer Sharp(Backend backend)
    {
        var model = new Transformer(backend, s_dense, seed: 9);
        foreach (Parameter parameter in model.Parameters.Where(parameter => parameter.Value.Shape.Rank > 1))
        {
            backend.Scale(parameter.Value, 8, parameter.Value);
        }

        return model;
    }

    private static (double[] Logits, int[][] Ids) Run(Transformer model)
    {
        using var tape = new Tape(model.Backend, record: false);
        Tensor ids = tape.Rent(DType.Int32, 16);
        ids.CopyFrom<int>([.. "abc def (1);\n  x"u8]);
        TransformerOutput output = model.Forward(tape, ids, 1, 16);
        return (output.Logits.Value.ToDoubles(), [.. output.Layers.Select(layer => layer.Routing.Ids.ToArray<int>())]);
    }
}
