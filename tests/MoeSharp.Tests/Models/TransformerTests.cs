using System.Text;
using MoeSharp.Autograd;
using MoeSharp.Core;
using MoeSharp.Models;
using MoeSharp.Reference;
using Xunit;

namespace MoeSharp.Tests;

public sealed class TransformerTests : IDisposable
{
    private static readonly ModelConfig s_config = Presets.Get("tiny").Model with { ContextLength = 16 };
    private readonly ReferenceBackend _backend = new();
    private readonly Transformer _model;

    public TransformerTests() => _model = Sharp(s_config);

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        _model.Dispose();
        _backend.Dispose();
    }

    [Theory]
    [InlineData(true, 0, NullKind.Zero)]
    [InlineData(false, 24, NullKind.Constant)]
    [InlineData(true, 0, NullKind.Zero, true)]
    public void ParameterCount_IsThatOfTheModel(bool tied, int shared, NullKind kind, bool residual = false)
    {
        ModelConfig config = s_config with { TieEmbeddings = tied, SharedExpertWidth = shared, NullKind = kind, GatingResidual = residual };
        using var model = new Transformer(_backend, config, 1);
        Assert.Equal(model.Parameters.Sum(parameter => parameter.Value.ElementCount), config.ParameterCount);
        Assert.InRange(config.ActiveParameterCount, 1, config.ParameterCount - 1);
    }

    [Fact]
    public void DenseModel_HasNoRouter()
    {
        ModelConfig config = s_config with { DenseWidth = 48, Experts = 0, ExpertWidth = 0, TopK = 0 };
        using Transformer model = Sharp(config);
        Assert.Equal(model.Parameters.Sum(parameter => parameter.Value.ElementCount), config.ParameterCount);
        Assert.Equal(config.ParameterCount, config.ActiveParameterCount);
        Assert.Contains("model.layers.1.mlp.gate_up_proj.weight", model.StateTensors.Select(item => item.Name));
        Assert.Equal((0, 2), (model.MoeLayers.Count, model.DenseLayers.Count));
        EvaluationResult result = Evaluator.Run(model, Encoding.UTF8.GetBytes(Samples.Program(3)), 2, long.MaxValue, Token);
        Assert.InRange(result.BitsPerByte, 1, 20);
        Assert.Equal((double.NaN, double.NaN), (result.NullShare, result.RealExpertsPerToken));
        Assert.Empty(result.NullShareByLayer);
        Assert.All(Evaluator.NullShares(model, "abc"u8), share => Assert.Equal(double.NaN, share));
    }

    [Fact]
    public void Parameters_HaveTheNamesOfLlamaCheckpoints()
    {
        string[] names = [.. _model.StateTensors.Select(item => item.Name)];
        Assert.Contains("model.embed_tokens.weight", names);
        Assert.Contains("model.layers.1.self_attn.o_proj.weight", names);
        Assert.Contains("model.layers.0.mlp.experts.gate_up_proj", names);
        Assert.Contains("model.layers.0.mlp.gate.selection_bias", names);
        Assert.Contains("model.norm.weight", names);
        Assert.DoesNotContain("lm_head.weight", names);
        Assert.Equal(names.Length, names.Distinct().Count());
    }

    [Fact]
    public void OutputProjections_StartSmallerByTheRootOfTwiceTheLayers()
    {
        ModelConfig wide = s_config with { HiddenSize = 64, HeadDim = 32, Layers = 4 };
        using var model = new Transformer(_backend, wide, 1);
        double Deviation(string name)
        {
            double[] values = model.Parameters.Single(parameter => parameter.Name == name).Value.ToDoubles();
            return Math.Sqrt(values.Average(x => x * x));
        }

        // 4096 values: the estimate of a standard deviation has a relative error of 1 / sqrt(2 * 4096) = 1.1 %; five of them.
        Assert.Equal(1, Deviation("model.layers.0.self_attn.q_proj.weight") / 0.02, 0.056);
        Assert.Equal(1, Deviation("model.layers.0.self_attn.o_proj.weight") / (0.02 / Math.Sqrt(8)), 0.056);
        Assert.Equal(1, Deviation("model.layers.3.mlp.experts.down_proj") / (0.02 / Math.Sqrt(8)), 0.056);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Forward_WithCaches_GivesTheLogitsOfOneWholePass(bool residual)
    {
        using Transformer model = Sharp(s_config with { GatingResidual = residual });
        byte[] text = Encoding.UTF8.GetBytes("abc def (1);\n  x");
        double[][] whole = Logits(model, text, text.Length), pieces = Logits(model, text, 5);

        // The same sums in another order of double rounding: 1e-16 per operation, some 1e3 operations deep, logits of order 1.
        for (int i = 0; i < text.Length; i++)
        {
            Assert.True(whole[i].Zip(pieces[i], (x, y) => Math.Abs(x - y)).Max() < 1e-12, $"position {i}");
        }
    }

    public static TheoryData<string> Routers => [.. RouterFamily.Names];

    [Theory]
    [MemberData(nameof(Routers))]
    public void EveryRouter_CountsItsParametersAndGeneratesIfItIsCausal(string router)
    {
        using var model = new Transformer(_backend, s_config.WithRouter(router), 1);
        Assert.Equal(model.Parameters.Sum(parameter => parameter.Value.ElementCount), model.Config.ParameterCount);
        Assert.InRange(model.Config.ActiveParameterCount, 1, model.Config.ParameterCount);
        if (model.Config.Router.IsCausal)
        {
            Assert.Equal(3, new Generator(model).Generate("ab"u8.ToArray(), new GenerateOptions { MaxTokens = 3 }, Token).Length);
        }
        else
        {
            string message = Assert.Throws<ArgumentException>(
                () => new Generator(model).Generate("ab"u8.ToArray(), new GenerateOptions { MaxTokens = 3 }, Token)).Message;
            Assert.Contains($"The router {router} lets later tokens decide", message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Forward_DoesNotLookAhead()
    {
        double[][] first = Logits("abcdefgh"u8.ToArray(), 8), second = Logits("abcdeXYZ"u8.ToArray(), 8);
        for (int i = 0; i < 5; i++)
        {
            Assert.Equal(first[i], second[i]);
        }

        Assert.NotEqual(first[5], second[5]);
    }

    [Fact]
    public void Forward_RefusesMoreThanTheContext()
    {
        using var tape = new Tape(_backend, record: false);
        Tensor ids = tape.Rent(DType.Int32, 17);
        Assert.Throws<ArgumentException>(() => _model.Forward(tape, ids, 1, 17));
    }

    [Fact]
    public void Generate_SlidesAsDefined()
    {
        using Transformer model = Sharp(s_config with { TieEmbeddings = false });
        byte[] prompt = Encoding.UTF8.GetBytes("a prompt that is longer than the context");
        byte[] actual = new Generator(model).Generate(prompt, new GenerateOptions { Temperature = 0, MaxTokens = 40 }, Token);
        var history = new List<byte>(prompt);
        int window = 16;
        for (int i = 0; i < 40; i++)
        {
            window = window > 16 ? 8 : window;
            byte[] read = [.. history.TakeLast(window)];
            history.Add((byte)Sampler.Choose(Logits(model, read, read.Length)[^1], 0, 1, 0));
            window++;
        }

        Assert.Equal(history.Skip(prompt.Length), actual);
        Assert.True(actual.Distinct().Count() > 3, "the model of this test is too dull to show an error");
    }

    [Fact]
    public async Task Generate_DependsOnTheSeedAlone()
    {
        var generator = new Generator(_model);
        var options = new GenerateOptions { Seed = 5, MaxTokens = 30, Temperature = 1 };
        byte[] first = generator.Generate("ab"u8.ToArray(), options, Token);
        Assert.Equal(first, generator.Generate("ab"u8.ToArray(), options, Token));
        Assert.NotEqual(first, generator.Generate("ab"u8.ToArray(), options with { Seed = 6 }, Token));
        var streamed = new List<byte>();
        await foreach (int token in generator.StreamAsync("ab"u8.ToArray(), options, Token))
        {
            streamed.Add((byte)token);
        }

        Assert.Equal(first, streamed);
    }

    [Fact]
    public async Task StreamAsync_StopsWhenCancelled()
    {
        using var source = new CancellationTokenSource();
        int count = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (int _ in new Generator(_model).StreamAsync([], null, source.Token))
            {
                if (++count == 3)
                {
                    await source.CancelAsync();
                }
            }
        });
        Assert.Equal(3, count);
    }

    [Fact]
    public void Generate_RefusesBadOptionsAtOnce() =>
        Assert.Throws<ArgumentException>(() => new Generator(_model).Stream([], new GenerateOptions { TopP = 0 }));

    [Theory]
    [InlineData(2)]
    [InlineData(16)]
    [InlineData(17)]
    [InlineData(40)]
    public void Evaluate_IsTheMeanOverNonOverlappingWindows(int length)
    {
        byte[] text = Encoding.UTF8.GetBytes(Samples.Program(4))[..length];
        double nats = 0;
        for (int start = 0; start < length - 1; start += 16)
        {
            byte[] window = text[start..Math.Min(start + 16, length - 1)];
            double[][] logits = Logits(window, window.Length);
            for (int i = 0; i < window.Length; i++)
            {
                double largest = logits[i].Max();
                nats += largest + Math.Log(logits[i].Sum(x => Math.Exp(x - largest))) - logits[i][text[start + i + 1]];
            }
        }

        foreach (int batch in (int[])[1, 2, 5])
        {
            EvaluationResult result = Evaluator.Run(_model, text, batch, long.MaxValue, Token);
            Assert.Equal(length - 1, result.Bytes);
            Assert.Equal(nats / (length - 1) / Math.Log(2), result.BitsPerByte, 1e-10);
        }
    }

    [Fact]
    public void Evaluate_CountsNullsConsistently()
    {
        byte[] text = Encoding.UTF8.GetBytes(Samples.Program(2))[..17];
        EvaluationResult result = Evaluator.Run(_model, text, 3, long.MaxValue, Token);
        Assert.Equal(result.NullShareByLayer.Average(), result.NullShare, 1e-12);
        Assert.Equal(Evaluator.NullShares(_model, text.AsSpan(0, 16)).Average(), result.NullShare, 1e-12);
        Assert.Equal(2 * (1 - result.NullShare), result.RealExpertsPerToken, 1e-12);
        Assert.InRange(result.NullShare, 0.01, 0.99);
        Assert.All(result.NullShareByClass, share => Assert.True(double.IsNaN(share) || share is >= 0 and <= 1));
    }

    [Fact]
    public void Evaluate_WithoutNulls_FindsNone()
    {
        using Transformer model = Sharp(s_config with { DataSparsity = 1 });
        EvaluationResult result = Evaluator.Run(model, Encoding.UTF8.GetBytes(Samples.Program(3)), 2, long.MaxValue, Token);
        Assert.Equal(0, result.NullShare);
        Assert.Equal(2, result.RealExpertsPerToken);
    }

    [Fact]
    public void Evaluate_OfAPart_UsesAboutThatManyBytes()
    {
        byte[] text = Encoding.UTF8.GetBytes(Samples.Program(30));
        Assert.Equal(96, Evaluator.Run(_model, text, 4, 100, Token).Bytes);
        Assert.Throws<ArgumentException>(() => Evaluator.Run(_model, "a"u8, 4, long.MaxValue, Token));
    }

    /// <summary>A model whose weights are large enough that it prefers some bytes and experts over others.</summary>
    private Transformer Sharp(ModelConfig config)
    {
        var model = new Transformer(_backend, config, seed: 9);
        foreach (Parameter parameter in model.Parameters.Where(parameter => parameter.Value.Shape.Rank > 1))
        {
            _backend.Scale(parameter.Value, 8, parameter.Value);
        }

        return model;
    }

    private double[][] Logits(byte[] text, int firstPiece) => Logits(_model, text, firstPiece);

    /// <summary>Logits of every position; the text is read in pieces through caches when the first piece is shorter than it.</summary>
    private static double[][] Logits(Transformer model, byte[] text, int firstPiece)
    {
        var rows = new List<double[]>();
        using var tape = new Tape(model.Backend, record: false);
        IReadOnlyList<KvCache>? caches = firstPiece < text.Length ? model.MakeCaches() : null;
        for (int start = 0; start < text.Length;)
        {
            int length = start == 0 ? firstPiece : 1;
            Tensor ids = tape.Rent(DType.Int32, length);
            ids.CopyFrom<int>([.. text.Skip(start).Take(length).Select(x => (int)x)]);
            rows.AddRange(model.Forward(tape, ids, 1, length, caches).Logits.Value.ToDoubles().Chunk(256));
            tape.Reset();
            start += length;
        }

        foreach (KvCache cache in caches ?? [])
        {
            cache.Dispose();
        }

        return [.. rows];
    }
}
