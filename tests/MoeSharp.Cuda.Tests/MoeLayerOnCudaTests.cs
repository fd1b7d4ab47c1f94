using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Cuda.Tests;

/// <summary>A whole MoE layer, forward and backward, as one graph whose replays follow the routing; and what it keeps for backward.</summary>
public sealed class MoeLayerOnCudaTests : IDisposable
{
    private const int Tokens = 300;
    private const int Hidden = 24;
    private const int Width = 16;
    private static readonly RouterSpec s_router = RouterSpec.WithNulls(experts: 6, topK: 3, rho: 0.5) with { SelectionBias = SelectionBias.Logit };
    private CudaBackend? _backend;

    public void Dispose() => _backend?.Dispose();

    [Theory]
    [InlineData(DType.Float32)]
    [InlineData(DType.BFloat16)]
    public void AGraphOfForwardAndBackward_FollowsTheRouting_BitForBit(DType type)
    {
        _backend = Emulated.Backend(new CudaOptions { FloatType = type });
        var init = new Initializer(_backend, seed: 11);
        using var step = new Step(init);
        using Tape captured = new(_backend), eager = new(_backend);
        step.Run(captured); // loads kernels, fills the pool, grows the workspace
        captured.Reset();
        using CudaGraph graph = _backend.Capture(() => step.Run(captured));
        Assert.True(graph.Nodes > 20, $"The graph holds {graph.Nodes} launches.");

        // A bias on the null logit moves the number of real rows through everything that is possible: all, some, none, and back.
        foreach ((double nullBias, int fewest, int most) in ((double, int, int)[])[(0, 1, (Tokens * 3) - 1), (-1e4, Tokens * 3, Tokens * 3), (1e4, 0, 0), (-0.02, 1, (Tokens * 3) - 1)])
        {
            step.Change(nullBias);
            step.Run(eager);
            double[][] expected = step.Results();
            Assert.True(step.RealRows >= fewest && step.RealRows <= most, $"With {nullBias} on the null logit {step.RealRows} slots are real, expected {fewest} to {most}.");
            eager.Reset();

            step.Spoil();
            CudaMemoryStatistics before = _backend.Memory;
            long workspace = _backend.WorkspaceBytes;
            graph.Replay();
            _backend.Synchronize();
            Assert.Equal((before, workspace), (_backend.Memory, _backend.WorkspaceBytes));
            double[][] replayed = step.Results(captured: true);
            for (int i = 0; i < expected.Length; i++)
            {
                Assert.Equal(expected[i].Select(BitConverter.DoubleToInt64Bits), replayed[i].Select(BitConverter.DoubleToInt64Bits));
            }
        }
    }

    [Theory]
    [InlineData(DType.Float32, 4)]
    [InlineData(DType.BFloat16, 2)]
    public void ForwardKeeps_ZTheOutputAndTheRouting_AndNothingElse(DType type, int bytes)
    {
        _backend = Emulated.Backend(new CudaOptions { FloatType = type });
        var init = new Initializer(_backend, seed: 11);
        using var layer = new MoeLayer(init, "mlp", new MoeOptions { Hidden = Hidden, ExpertWidth = Width, Router = s_router }, 0.1);
        using Tensor x = init.Normal("x", 1, Tokens, Hidden);
        using var tape = new Tape(_backend);
        _ = layer.Forward(tape, tape.Input(x));

        // In bfloat16: 2 T d for what the layer computes (the input was there before), 4 n per slot for z, and the rest is routing. How many
        // slots are real is known on the device only, so z has room for all T K of them; R rows of it are written and read.
        int slots = Tokens * s_router.TopK, columns = s_router.Columns, experts = s_router.Experts;
        long chunks = RoutingPlan.Chunks(Tokens);
        long gate = (bytes * Tokens * columns) + (4 * ((2 * slots) + (2 * columns) + (chunks * experts) + 2));
        long plan = 4 * (experts + 1 + (3 * slots));
        Assert.Equal((bytes * Tokens * Hidden) + (2 * bytes * slots * Width) + gate + plan, tape.KeptBytes);
    }

    /// <summary>Layer, head and loss: one number that has a gradient everywhere.</summary>
    private sealed class Step : IDisposable
    {
        private readonly Initializer _init;
        private readonly MoeLayer _layer;
        private readonly Linear _head;
        private readonly Tensor _x;
        private readonly Tensor _targets;
        private int _changes;
        private Outputs? _first;
        private Outputs? _last;

        public Step(Initializer init)
        {
            _init = init;
            _layer = new MoeLayer(init, "mlp", new MoeOptions { Hidden = Hidden, ExpertWidth = Width, Router = s_router }, 0.1);
            _head = new Linear(init, "head", Hidden, 8, 0.3);
            _x = init.Normal("x", 1, Tokens, Hidden);
            _targets = init.Backend.From<int>([.. Enumerable.Range(0, Tokens).Select(t => t % 8)], Tokens);
        }

        /// <summary>R of the last eager run.</summary>
        public int RealRows { get; private set; }

        /// <summary>Forward and backward; the second run on the tape that is captured keeps its tensors.</summary>
        public void Run(Tape tape)
        {
            _layer.ZeroGradients();
            _head.ZeroGradients();
            Variable x = tape.Input(_x);
            MoeOutput moe = _layer.Forward(tape, x);
            Variable loss = tape.Add(tape.CrossEntropy(_head.Forward(tape, moe.Output), _targets, out _), tape.Add(moe.BalanceLoss, moe.ZLoss));
            tape.Backward(loss);
            _last = new Outputs(moe, loss, x);
            _first = _changes == 0 ? _last : _first;
        }

        /// <summary>Other inputs in the same memory.</summary>
        public void Change(double nullBias)
        {
            _changes++;
            using Tensor other = _init.Normal($"x{_changes}", 1, Tokens, Hidden);
            _x.FromDoubles(other.ToDoubles());
            double[] bias = new double[s_router.Columns];
            bias[^1] = nullBias;
            _layer.SelectionBias!.FromDoubles(bias);
        }

        /// <summary>Fills what a replay has to write.</summary>
        public void Spoil()
        {
            foreach (Tensor tensor in (ReadOnlySpan<Tensor>)[_first!.Moe.Output.Value, _first.Loss.Value, _first.X.Gradient!])
            {
                tensor.FromDoubles([.. Enumerable.Repeat(double.NaN, (int)tensor.ElementCount)]);
            }
        }

        /// <summary>Output, loss and every gradient, of the capture or of the last eager run.</summary>
        public double[][] Results(bool captured = false)
        {
            Outputs outputs = captured ? _first! : _last!;
            RealRows = outputs.Moe.Plan.Offsets.ToArray<int>()[^1];
            return
            [
                outputs.Moe.Output.Value.ToDoubles(), outputs.Loss.Value.ToDoubles(), outputs.X.Gradient!.ToDoubles(),
                .. _layer.Parameters.Concat(_head.Parameters).Select(parameter => parameter.Gradient.ToDoubles()),
            ];
        }

        public void Dispose()
        {
            _layer.Dispose();
            _head.Dispose();
            _x.Dispose();
            _targets.Dispose();
        }

        private sealed record Outputs(MoeOutput Moe, Variable Loss, Variable X);
    }
}
