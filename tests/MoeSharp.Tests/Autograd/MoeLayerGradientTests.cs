using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>Central differences against MoE layers of every kind, and the exact zeros that null slots promise.</summary>
public sealed class MoeLayerGradientTests : AutogradTest
{
    private const int Tokens = 7;
    private const int Hidden = 5;

    public static TheoryData<string> Kinds => [.. Options.Keys];

    private static Dictionary<string, MoeOptions> Options { get; } = new()
    {
        ["no nulls"] = Make(new RouterSpec { Experts = 4, TopK = 2, Renormalize = Renormalize.Chosen }),
        ["raw weights, scaled, router bias, input scale"] =
            Make(new RouterSpec { Experts = 4, TopK = 2, Renormalize = Renormalize.None, Scale = 1.5 })
                with { RouterBias = true, InputScale = 2 },
        ["zero nulls, shared logit"] = Make(RouterSpec.WithNulls(experts: 4, topK: 3, rho: 0.5)),
        ["zero nulls, a logit per copy"] =
            Make(RouterSpec.WithNulls(4, 3, 0.5) with { SharedNullLogit = false, NullBalance = NullBalance.Average }),
        ["identity nulls"] = Make(new RouterSpec
        {
            Experts = 4,
            TopK = 3,
            Nulls = [new(NullKind.Identity, 3)],
            SharedNullLogit = false,
            Renormalize = Renormalize.None,
            SelectionBias = SelectionBias.Score,
        }),
        ["zero, identity and constant nulls"] = Make(new RouterSpec
        {
            Experts = 3,
            TopK = 4,
            Nulls = [new(NullKind.Zero, 1), new(NullKind.Identity, 1), new(NullKind.Constant, 2)],
            SharedNullLogit = false,
            Renormalize = Renormalize.ChosenExceptZero,
        }),
        ["constant nulls, shared logit"] =
            Make(new RouterSpec { Experts = 3, TopK = 3, Nulls = [new(NullKind.Constant, 2)], Renormalize = Renormalize.Chosen }),
        ["sigmoid scores, groups, selection bias, gated shared expert"] = Make(new RouterSpec
        {
            Experts = 6,
            TopK = 3,
            Score = ScoreFunction.Sigmoid,
            SelectionBias = SelectionBias.Score,
            Renormalize = Renormalize.Chosen,
            GroupCount = 3,
            GroupsKept = 2,
            GroupScore = GroupScore.TopTwoSum,
            Scale = 2.5,
        }) with { SharedWidth = 4, SharedGate = true },
        ["threshold, raw weights, top-1 loads"] = Make(RouterSpec.WithThreshold(experts: 5, threshold: 0.6, mostExperts: 4)),
        ["threshold over nulls, normalised, with a capacity"] =
            Make(RouterSpec.WithNulls(2, 3, 0.5) with { Selection = Selection.Threshold, Threshold = 0.8 }) with { CapacityFactor = 0.5 },
        ["relu"] = Make(RouterSpec.WithRelu(experts: 5, mostExperts: 3)),
        ["cosine, nulls"] = Make(RouterSpec.WithNulls(4, 3, 0.5) with { Kind = RouterKind.Cosine, CosineWidth = 3 }),
        ["noisy top-k"] = Make(RouterSpec.WithNoise(experts: 5, topK: 2)),
        ["expert choice"] = Make(RouterSpec.WithExpertChoice(experts: 4, meanExperts: 2)),
        ["hash"] = Make(RouterSpec.WithHash(experts: 4, topK: 2)) with { Vocabulary = 9 },
        ["logit bias on shared nulls, shared expert"] =
            Make(RouterSpec.WithNulls(4, 4, 0.5) with { SelectionBias = SelectionBias.Logit }) with { SharedWidth = 3 },
    };

    [Theory]
    [MemberData(nameof(Kinds))]
    public void MoeLayer_WithAuxiliaryLosses_MatchesDifferences(string kind)
    {
        using MoeLayer layer = Layer(Options[kind]);
        using Parameter projection = ProjectionOf(Tokens, Hidden);
        using Tensor x = Random("x", Tokens, Hidden);
        Passes(GradientCheck.Run(Backend, [x], (tape, v) => Loss(tape, layer, v[0], projection)));
        Passes(GradientCheck.Run(Backend, layer.Parameters, tape => Loss(tape, layer, tape.Constant(x), projection)));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AuxiliaryLosses_Alone_MatchDifferences(bool balance)
    {
        using MoeLayer layer = Layer(Options["zero nulls, shared logit"]);
        using Tensor x = Random("x", Tokens, Hidden);
        Passes(GradientCheck.Run(Backend, [x], (tape, v) => Part(layer.Forward(tape, v[0]))));
        Passes(GradientCheck.Run(Backend, [Weight(layer)], tape => Part(layer.Forward(tape, tape.Constant(x)))));

        Variable Part(MoeOutput output) => balance ? output.BalanceLoss : output.ZLoss;
    }

    [Fact]
    public void SharedNullLogit_TaskLoss_HasExactlyZeroGradient()
    {
        using MoeLayer layer = Layer(Options["zero nulls, shared logit"]);
        using Parameter projection = ProjectionOf(Tokens, Hidden);
        using Tensor x = Random("x", Tokens, Hidden);
        using var tape = new Tape(Backend);
        tape.Backward(Project(tape, layer.Forward(tape, tape.Constant(x)).Output, projection));
        double[] gradient = Weight(layer).Gradient.ToDoubles();
        Assert.All(gradient[(4 * Hidden)..], value => Assert.Equal(0.0, value));
        Assert.Contains(gradient[..(4 * Hidden)], value => value != 0);
    }

    [Fact]
    public void AllNullBatch_IsZeroAndTrainsNothing()
    {
        using MoeLayer layer = Layer(Make(RouterSpec.WithNulls(4, 3, 0.25) with { SelectionBias = SelectionBias.Logit }));
        layer.SelectionBias!.FromDoubles([0, 0, 0, 0, 1e6]);
        using Parameter projection = ProjectionOf(Tokens, Hidden);
        using Tensor x = Random("x", Tokens, Hidden);
        using var tape = new Tape(Backend) { PoisonRented = true };
        MoeOutput output = layer.Forward(tape, tape.Input(x));
        Assert.All(output.Output.Value.ToDoubles(), value => Assert.Equal(0.0, value));
        tape.Backward(Project(tape, output.Output, projection));
        Assert.All(layer.Parameters, parameter => Assert.All(parameter.Gradient.ToDoubles(), value => Assert.Equal(0.0, value)));
    }

    [Theory]
    [InlineData(NullKind.Zero, Renormalize.ChosenExceptZero)]
    [InlineData(NullKind.Zero, Renormalize.Chosen)]
    [InlineData(NullKind.Identity, Renormalize.ChosenExceptZero)]
    [InlineData(NullKind.Identity, Renormalize.None)]
    [InlineData(NullKind.Constant, Renormalize.ChosenExceptZero)]
    [InlineData(NullKind.Constant, Renormalize.None)]
    public void AllNullBatch_OfAnyKind_HasNoRows_AndMatchesDifferences(NullKind kind, Renormalize renormalize)
    {
        var router = new RouterSpec
        {
            Experts = 4, TopK = 3, Nulls = [new(kind, 4)], SharedNullLogit = false, Renormalize = renormalize, SelectionBias = SelectionBias.Logit,
        };
        using MoeLayer layer = Layer(Make(router));
        layer.SelectionBias!.FromDoubles([.. Enumerable.Range(0, router.Columns).Select(column => column < 4 ? 0 : 1e6)]);
        using Parameter projection = ProjectionOf(Tokens, Hidden);
        using Tensor x = Random("x", Tokens, Hidden);
        using (var tape = new Tape(Backend) { PoisonRented = true })
        {
            MoeOutput output = layer.Forward(tape, tape.Constant(x));
            Assert.All(output.Plan.Offsets.ToArray<int>(), offset => Assert.Equal(0, offset));
            tape.Backward(Project(tape, output.Output, projection));
            Assert.All(layer.W1.Gradient.ToDoubles().Concat(layer.W2.Gradient.ToDoubles()), value => Assert.Equal(0.0, value));
        }

        Passes(GradientCheck.Run(Backend, [x], (tape, v) => Loss(tape, layer, v[0], projection)));
        Passes(GradientCheck.Run(Backend, layer.Parameters, tape => Loss(tape, layer, tape.Constant(x), projection)));
    }

    [Fact]
    public void AllNullToken_GetsTheSharedExpertAlone()
    {
        using MoeLayer layer = Layer(Options["logit bias on shared nulls, shared expert"]);
        layer.SelectionBias!.FromDoubles([0, 0, 0, 0, 1e6]);
        using var shared = new SwiGluMlp(Init, "mlp.shared_expert", Hidden, 3, 0.5);
        using Tensor x = Random("x", Tokens, Hidden);
        using var tape = new Tape(Backend, record: false);
        Assert.Equal(shared.Forward(tape, tape.Constant(x)).Value.ToDoubles(), layer.Forward(tape, tape.Constant(x)).Output.Value.ToDoubles());
    }

    [Fact]
    public void NoTokens_IsLegal()
    {
        using MoeLayer layer = Layer(Options["zero, identity and constant nulls"]);
        using Tensor x = Random("x", 0, Hidden);
        using var tape = new Tape(Backend) { PoisonRented = true };
        MoeOutput output = layer.Forward(tape, tape.Input(x));
        tape.Backward(tape.Add(output.BalanceLoss, output.ZLoss));
        Assert.Equal(0, output.Output.Value.ElementCount);
        Assert.All(layer.Parameters, parameter => Assert.All(parameter.Gradient.ToDoubles(), value => Assert.Equal(0.0, value)));
    }

    [Fact]
    public void Parameters_HaveCheckpointNamesAndShapes()
    {
        using MoeLayer layer = Layer(Options["sigmoid scores, groups, selection bias, gated shared expert"]);
        Assert.Equal(
            [
                "mlp.gate.weight [6, 5]", "mlp.experts.gate_up_proj [6, 6, 5]", "mlp.experts.down_proj [6, 5, 3]",
                "mlp.shared_expert.gate_up_proj.weight [8, 5]", "mlp.shared_expert.down_proj.weight [5, 4]",
                "mlp.shared_expert_gate.weight [1, 5]",
            ],
            layer.Parameters.Select(parameter => $"{parameter.Name} {parameter.Value.Shape}"));
        Assert.Equal(["mlp.gate.selection_bias"], layer.Buffers.Select(buffer => buffer.Name));
    }

    private static Parameter Weight(MoeLayer layer) => Assert.IsType<LinearRouter>(layer.Router).Weight;

    private static MoeOptions Make(RouterSpec router) => new() { Hidden = Hidden, ExpertWidth = 3, Router = router };

    private MoeLayer Layer(MoeOptions options)
    {
        var layer = new MoeLayer(Init, "mlp", options, 0.5);
        foreach (Parameter noise in layer.Parameters.Where(parameter => parameter.Name.EndsWith(".noise.weight", StringComparison.Ordinal)))
        {
            using Tensor random = Random("noise", noise.Value.Shape[0], noise.Value.Shape[1]);
            noise.Value.FromDoubles(random.ToDoubles());
        }

        layer.SelectionBias?.FromDoubles([.. Enumerable.Range(0, options.Router.Columns).Select(i => 0.1 * ((i % 3) - 1))]);
        return layer;
    }

    private Variable Loss(Tape tape, MoeLayer layer, Variable x, Parameter projection)
    {
        Tensor ids = tape.Rent(DType.Int32, x.Shape[0]);
        ids.CopyFrom<int>([.. Enumerable.Range(0, (int)x.Shape[0])]);
        MoeOutput output = layer.Forward(tape, x, new RouterContext { TokenIds = ids, Pass = 3 });
        Variable auxiliary = tape.Add(tape.Scale(output.BalanceLoss, 0.7), tape.Scale(output.ZLoss, 0.3));
        return tape.Add(Project(tape, output.Output, projection), auxiliary);
    }
}
