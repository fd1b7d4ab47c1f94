using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>VQMoE layers: both branches, the discrete one alone, and the life of their codes.</summary>
public sealed class DiscreteBranchTests : AutogradTest
{
    private const int Tokens = 24;
    private const int Hidden = 6;
    private const int Experts = 4;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Layer_WithoutAShareOfTheCode_MatchesDifferences(bool discreteOnly)
    {
        // With mix 0 the stop-gradient has nothing to stop: experts of both branches, norms, mixer and gate.
        using MoeLayer layer = Layer(new() { Codes = 5, Mix = 0, DiscreteOnly = discreteOnly });
        using Parameter projection = ProjectionOf(Tokens, Hidden);
        using Tensor x = Random("x", Tokens, Hidden);
        Passes(GradientCheck.Run(Backend, [x], (tape, v) => Project(tape, layer.Forward(tape, v[0]).Output, projection), maxElementsPerTensor: 40));
        Passes(GradientCheck.Run(Backend, layer.Parameters, tape => Project(tape, layer.Forward(tape, tape.Constant(x)).Output, projection), maxElementsPerTensor: 24));
    }

    [Fact]
    public void OneChosenExpert_StillGivesTheRouterATaskGradient()
    {
        using MoeLayer layer = Layer(new() { Codes = 4 });
        using Parameter projection = ProjectionOf(Tokens, Hidden);
        using Tensor x = Random("x", Tokens, Hidden);
        using var tape = new Tape(Backend);
        tape.Backward(Project(tape, layer.Forward(tape, tape.Constant(x)).Output, projection));
        Assert.Contains(Assert.IsType<LinearRouter>(layer.Router).Weight.Gradient.ToDoubles(), value => value != 0);
    }

    [Fact]
    public void DiscreteOnly_IsTheOtherLayerWithoutItsRouter()
    {
        using MoeLayer both = Layer(new() { Codes = 7 }), alone = Layer(new() { Codes = 7, DiscreteOnly = true });
        Assert.Equal(both.Parameters.Select(parameter => parameter.Name).Where(name => name != "moe.gate.weight"), alone.Parameters.Select(parameter => parameter.Name));
        using Tensor x = Random("x", Tokens, Hidden);
        (double[] whole, int[] ids, _, _) = Run(both, x);
        (double[] rest, int[] sameIds, _, int rows) = Run(alone, x);
        Assert.Equal(ids, sameIds);
        Assert.Equal(Tokens, rows);
        Assert.NotEqual(whole, rest);

        // A mixer that gives all to the discrete branch leaves nothing of the other.
        Parameter bias = both.Parameters.Single(parameter => parameter.Name == "moe.discrete.mixer.bias");
        foreach (MoeLayer layer in (MoeLayer[])[both, alone])
        {
            layer.Parameters.Single(parameter => parameter.Name == bias.Name).Value.FromDoubles([800]);
        }

        Assert.Equal(Run(alone, x).Output, Run(both, x).Output);
    }

    [Fact]
    public void NarrowCodes_MoveTheTokenInsideTheirSubspaceOnly()
    {
        using MoeLayer layer = Layer(new() { Codes = 5, Width = 2, Mix = 0.4 });
        Tensor projection = layer.Buffers.Single(buffer => buffer.Name == "moe.discrete.projection").Value;
        double[] p = projection.ToDoubles();
        for (int i = 0; i < 4; i++)
        {
            Assert.Equal(i / 2 == i % 2 ? 1 : 0, Enumerable.Range(0, Hidden).Sum(j => p[((i / 2) * Hidden) + j] * p[((i % 2) * Hidden) + j]), 1e-12);
        }

        using Tensor x = Random("x", Tokens, Hidden);
        using var tape = new Tape(Backend);
        GateNode gate = layer.Codes!.Route(tape, tape.Constant(x), RouterContext.None);
        Assert.InRange(gate.Codes!.ToArray<int>().Max(), 0, 4);
        Assert.Equal(new Shape(Tokens, Hidden), gate.Input!.Shape);
    }

    [Fact]
    public void Codes_BeginAsTokensOfTheFirstBatch_AndDeadOnesMoveToTokensOfTheLast()
    {
        using MoeLayer layer = Layer(new() { Codes = 6 });
        CodeRouter codes = layer.Codes!;
        using Tensor x = Random("x", Tokens, Hidden), other = Random("other", Tokens, Hidden);
        double[] untrained = codes.Codebook.Value.ToDoubles();
        _ = Run(layer, x);
        codes.Revive();
        Assert.Equal(untrained, codes.Codebook.Value.ToDoubles());

        Train(x, 0);
        double[][] start = Rows(codes.Codebook.Value);
        Assert.All(start, code => Assert.Contains(Rows(x), row => row.SequenceEqual(code)));
        Assert.Equal(6, start.Select(code => string.Join(' ', code)).Distinct().Count());
        Assert.All(codes.Usage.ToDoubles(), share => Assert.True(share > 0));

        // Code 2 goes where no token is and has no use left; the others have a fair share of it.
        double[] lost = codes.Codebook.Value.ToDoubles();
        Array.Fill(lost, 1e3, 2 * Hidden, Hidden);
        codes.Codebook.Value.FromDoubles(lost);
        codes.Usage.FromDoubles([0.2, 0.2, 0, 0.2, 0.2, 0.2]);
        Train(other, 1);
        Assert.Equal(0, codes.Usage.ToDoubles()[2]);
        Assert.Equal(lost, codes.Codebook.Value.ToDoubles());
        codes.Revive();
        double[][] after = Rows(codes.Codebook.Value);

        // It takes exp(-0.001) of its anchor, and keeps the rest of its place at 1000.
        Assert.Contains(Rows(other), row => row.Zip(after[2], (anchor, code) => Math.Abs(anchor - code)).Max() < 1.01);
        Assert.All((int[])[0, 1, 3, 4, 5], code => Assert.Equal(lost.AsSpan(code * Hidden, Hidden).ToArray(), after[code]));

        void Train(Tensor batch, long pass)
        {
            using var tape = new Tape(Backend);
            _ = layer.Forward(tape, tape.Constant(batch), new RouterContext { Pass = pass });
        }
    }

    [Fact]
    public void ARehearsal_RoutesLikeThePass_AndUsesNoCode()
    {
        using MoeLayer layer = Layer(new() { Codes = 6 });
        using Tensor x = Random("x", Tokens, Hidden), other = Random("other", Tokens, Hidden);
        _ = Train(x, 0, rehearsal: false);
        double[] usage = layer.Codes!.Usage.ToDoubles();
        int[] rehearsed = Train(other, 1, rehearsal: true);
        Assert.Equal(usage, layer.Codes.Usage.ToDoubles());
        Assert.Equal(rehearsed, Train(other, 1, rehearsal: false));
        Assert.NotEqual(usage, layer.Codes.Usage.ToDoubles());

        int[] Train(Tensor batch, long pass, bool rehearsal)
        {
            using var tape = new Tape(Backend);
            return Ints(layer.Forward(tape, tape.Constant(batch), new RouterContext { Pass = pass, Rehearsal = rehearsal }).Discrete!.Codes!);
        }
    }

    [Fact]
    public void Map_SendsCodesToTheirExperts()
    {
        int[] map = [3, 3, 2, 1, 0, 0];
        using MoeLayer byRemainder = Layer(new() { Codes = 6 }), byMap = Layer(new() { Codes = 6, ExpertOfCode = map });
        using Tensor x = Random("x", Tokens, Hidden);
        int[] codes = Run(byRemainder, x).Codes;
        Assert.True(codes.Distinct().Count() > 2);
        Assert.Equal(codes.Select(code => code % Experts), Run(byRemainder, x).Ids);
        Assert.Equal(codes.Select(code => map[code]), Run(byMap, x).Ids);
    }

    [Theory]
    [InlineData(3, 0, null, "3 codes leaves experts without one: 4 experts need at least 4 codes")]
    [InlineData(4, 9, null, "as wide as a token, 6, got 9")]
    [InlineData(4, 0, new[] { 0, 1, 2 }, "3 entries for 4 codes")]
    [InlineData(4, 0, new[] { 0, 1, 2, 4 }, "names expert 4; there are 0 to 3")]
    [InlineData(4, 0, new[] { 0, 1, 2, 2 }, "No code is mapped to expert 3")]
    public void ACodebookThatDoesNotFit_IsOneSentence(int codes, int width, int[]? map, string message)
    {
        ArgumentException error = Assert.Throws<ArgumentException>(() => Layer(new() { Codes = codes, Width = width, ExpertOfCode = map }));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    private static double[][] Rows(Tensor tensor) => [.. tensor.ToDoubles().Chunk((int)tensor.Shape[1])];

    private static int[] Ints(Tensor tensor) => tensor.ToArray<int>();

    /// <summary>Output, experts of the codes and codes of a layer.</summary>
    private (double[] Output, int[] Ids, int[] Codes, int Rows) Run(MoeLayer layer, Tensor x)
    {
        using var tape = new Tape(Backend, record: false);
        MoeOutput output = layer.Forward(tape, tape.Constant(x));
        return (output.Output.Value.ToDoubles(), Ints(output.Discrete!.Result.Ids), Ints(output.Discrete.Codes!), Ints(output.Plan.Offsets)[^1]);
    }

    private MoeLayer Layer(CodebookSpec codebook) =>
        new(Init, "moe", new MoeOptions { Hidden = Hidden, ExpertWidth = 3, Router = RouterSpec.WithCodes(Experts, 1) with { Codebook = codebook } }, 0.5);
}
