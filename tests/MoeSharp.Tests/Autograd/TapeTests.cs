using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>Memory, lifetime and summation of the tape, on a small MoE block with a loss.</summary>
public sealed class TapeTests : AutogradTest
{
    private const int Hidden = 6;
    private const int Length = 4;

    [Fact]
    public void TwoMicroBatches_GiveTheGradientOfOneBatch()
    {
        using TransformerBlock block = Block();
        using Parameter head = RandomParameter("head", 5, Hidden);
        Parameter[] parameters = [.. block.Parameters, head];
        using var tape = new Tape(Backend);
        Step(tape, block, head, 0, 2, 1);
        double[][] whole = Take(parameters);
        Step(tape, block, head, 0, 1, 0.5);
        Step(tape, block, head, 1, 1, 0.5);
        double[][] accumulated = Take(parameters);

        // The same terms summed in another order: some 100 additions of values below the largest one.
        for (int i = 0; i < whole.Length; i++)
        {
            double bound = 1e-13 * whole[i].Max(Math.Abs);
            Assert.True(bound > 0, $"{parameters[i].Name} has no gradient, so the test says nothing about it.");
            Assert.All(whole[i].Zip(accumulated[i]), pair => Assert.Equal(pair.First, pair.Second, bound));
        }
    }

    [Fact]
    public void SteadyState_AllocatesNothing()
    {
        using TransformerBlock block = Block();
        using Parameter head = RandomParameter("head", 5, Hidden);
        using var optimizer = new AdamW(Backend, [.. block.Parameters, head]);
        using var tape = new Tape(Backend);
        using Tensor x = Random("x", 2 * Length, Hidden), positions = Positions(2, Length), targets = Targets(2);
        Train();
        long allocations = AllocationTracker.Allocations, live = AllocationTracker.LiveTensors, bytes = tape.PooledBytes;
        for (int i = 0; i < 3; i++)
        {
            Train();
        }

        Assert.Equal(allocations, AllocationTracker.Allocations);
        Assert.Equal(live, AllocationTracker.LiveTensors);
        Assert.Equal(bytes, tape.PooledBytes);

        void Train()
        {
            optimizer.ZeroGradients();
            Variable output = block.Forward(tape, tape.Constant(x), positions, 2, Length).Output;
            tape.Backward(tape.CrossEntropy(tape.Linear(output, head), targets, out _));
            optimizer.Update(1e-3);
            tape.Reset();
        }
    }

    [Fact]
    public void PoisonedPool_GivesTheSameBits()
    {
        using TransformerBlock block = Block();
        using Parameter head = RandomParameter("head", 5, Hidden);
        Parameter[] parameters = [.. block.Parameters, head];
        using (var tape = new Tape(Backend))
        {
            Step(tape, block, head, 0, 2, 1);
        }

        double[][] plain = Take(parameters);
        using (var tape = new Tape(Backend) { PoisonRented = true })
        {
            Step(tape, block, head, 0, 2, 1);
            Take(parameters);
            Step(tape, block, head, 0, 2, 1);
        }

        Assert.Equal(plain, Take(parameters));
    }

    [Fact]
    public void Inference_GivesTheSameBits()
    {
        using TransformerBlock block = Block();
        using Tensor x = Random("x", 2 * Length, Hidden), positions = Positions(2, Length);
        using Tape recording = new(Backend), inference = new(Backend, record: false) { PoisonRented = true };
        double[] trained = block.Forward(recording, recording.Constant(x), positions, 2, Length).Output.Value.ToDoubles();
        double[] inferred = block.Forward(inference, inference.Constant(x), positions, 2, Length).Output.Value.ToDoubles();
        Assert.Equal(trained, inferred);
    }

    [Fact]
    public void Inference_DeepModel_NeedsNoMoreMemoryThanAShallowOne()
    {
        using var block = new TransformerBlock(Init, "block", Attention(), null, 5, 1e-3, 0.5);
        using Tensor start = Random("x", Length, Hidden), positions = Positions(1, Length);
        using var tape = new Tape(Backend, record: false);
        Variable x = tape.Constant(start);
        long shallow = 0;
        for (int layer = 0; layer < 6; layer++)
        {
            Variable output = block.Forward(tape, x, positions, 1, Length).Output;
            tape.Release(x);
            x = output;
            shallow = layer == 1 ? tape.PooledBytes : shallow;
        }

        Assert.Equal(shallow, tape.PooledBytes);
        Assert.True(double.IsFinite(x.Value.ToDoubles()[0]));
    }

    [Fact]
    public void Experts_Recording_KeepsNoActivationButZ()
    {
        // Wide experts, so that z [T*K, 2n] and a [T*K, n] are most of the memory; one eighth is what size classes may waste.
        const int Tokens = 32, Width = 64;
        RouterSpec router = RouterSpec.WithNulls(experts: 4, topK: 2, rho: 0.5);
        using var layer = new MoeLayer(Init, "mlp", new MoeOptions { Hidden = 2, ExpertWidth = Width, Router = router }, 0.5);
        using Tensor x = Random("x", Tokens, 2);
        using var tape = new Tape(Backend);
        layer.Forward(tape, tape.Constant(x));
        long before = tape.PooledBytes;
        layer.Forward(tape, tape.Constant(x));
        long z = Tokens * 2 * 2 * Width * sizeof(double);
        Assert.InRange(tape.PooledBytes - before, z, z * 5 / 4);
    }

    [Fact]
    public void Backward_KeepsValuesAndTheGradientsOfLeavesOnly()
    {
        using TransformerBlock block = Block();
        using Tensor x = Random("x", Length, Hidden), positions = Positions(1, Length);
        using Parameter projection = ProjectionOf(Length, Hidden);
        using var tape = new Tape(Backend);
        Variable leaf = tape.Input(x);
        Variable output = block.Forward(tape, leaf, positions, 1, Length).Output;
        tape.Backward(Project(tape, output, projection));
        Assert.NotNull(leaf.Gradient);
        Assert.Null(output.Gradient);
        Assert.False(output.Value.IsDisposed);
        Assert.Equal(Length * Hidden, leaf.Gradient.ToDoubles().Length);
    }

    [Fact]
    public void Reset_EndsEveryTensorOfTheTape()
    {
        using Tensor x = Random("x", 2, 3);
        using var tape = new Tape(Backend);
        Variable doubled = tape.Scale(tape.Input(x), 2);
        tape.Reset();
        Assert.Throws<ObjectDisposedException>(() => doubled.Value);
        Assert.Throws<ObjectDisposedException>(() => tape.Scale(doubled, 2));
        Assert.False(x.IsDisposed);
    }

    [Fact]
    public void Tape_InsideATensorScope_KeepsItsMemory()
    {
        using Tensor x = Random("x", 2, 3);
        using var tape = new Tape(Backend);
        Variable y;
        using (new TensorScope())
        {
            y = tape.Scale(tape.Input(x), 2);
        }

        Assert.Equal(x.ToDoubles().Select(value => 2 * value), y.Value.ToDoubles());
    }

    [Fact]
    public void Backward_Misuse_SaysWhatIsWrong()
    {
        using Tensor x = Random("x", 1, 1);
        using var tape = new Tape(Backend);
        using var silent = new Tape(Backend, record: false);
        Assert.Throws<InvalidOperationException>(() => silent.Backward(silent.Scale(silent.Input(x), 2)));
        Assert.Throws<ArgumentException>(() => tape.Backward(tape.Scale(tape.Constant(x), 2)));
        Variable loss = tape.Scale(tape.Input(x), 2);
        tape.Backward(loss);
        Assert.Throws<InvalidOperationException>(() => tape.Backward(loss));
        using Tensor two = Random("x", 2);
        tape.Reset();
        Assert.Throws<ArgumentException>(() => tape.Backward(tape.Input(two)));
    }

    [Fact]
    public void Backward_ScaleIsTheGradientOfTheLoss()
    {
        using Tensor x = Random("x", 1);
        using var tape = new Tape(Backend);
        Variable leaf = tape.Input(x);
        tape.Backward(tape.Scale(leaf, 3), scale: 0.25);
        Assert.Equal([0.75], leaf.Gradient!.ToDoubles());
    }

    [Fact]
    public void Constant_OfAnotherBackend_IsRejected()
    {
        using var other = new Reference.ReferenceBackend();
        using Tensor x = other.FromDoubles([1], 1);
        using var tape = new Tape(Backend);
        Assert.Throws<ArgumentException>(() => tape.Constant(x));
    }

    private static double[][] Take(Parameter[] parameters)
    {
        double[][] gradients = [.. parameters.Select(parameter => parameter.Gradient.ToDoubles())];
        Array.ForEach(parameters, parameter => parameter.ZeroGradient());
        return gradients;
    }

    private static AttentionOptions Attention() =>
        new() { Hidden = Hidden, Heads = 2, KeyValueHeads = 1, HeadDim = 4, Rope = new RopeSpec(4) };

    private TransformerBlock Block()
    {
        var moe = new MoeOptions
        {
            Hidden = Hidden,
            ExpertWidth = 3,
            Router = new RouterSpec
            {
                Experts = 3,
                TopK = 4,
                Nulls = [new(NullKind.Zero, 2), new(NullKind.Identity, 1), new(NullKind.Constant, 2)],
                SharedNullLogit = false,
            },
            SharedWidth = 2,
            SharedGate = true,
        };
        return new TransformerBlock(Init, "block", Attention(), moe, 0, 1e-3, 0.5);
    }

    private Tensor Targets(int batch) => Ints([.. Enumerable.Range(0, batch * Length).Select(i => i * 3 % 5)]);

    /// <summary>One pass over sequences first .. first + batch of a fixed batch of two.</summary>
    private void Step(Tape tape, TransformerBlock block, Parameter head, int first, int batch, double scale)
    {
        using Tensor all = Random("x", 2 * Length, Hidden), allTargets = Targets(2);
        using Tensor x = all.View(new Shape(batch * Length, Hidden), first * Length * Hidden);
        using Tensor targets = allTargets.View(new Shape(batch * Length), first * Length), positions = Positions(batch, Length);
        Variable output = block.Forward(tape, tape.Constant(x), positions, batch, Length).Output;
        tape.Backward(tape.CrossEntropy(tape.Linear(output, head), targets, out _), scale);
        tape.Reset();
    }
}
