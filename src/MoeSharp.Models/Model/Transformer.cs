using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>A pre-norm decoder with rotary positions, grouped-query attention and, in every block, a MoE layer or a dense SwiGLU layer.</summary>
/// <remarks>
/// Weights start as normal values with standard deviation 0.02, projections back into the residual stream with 0.02 / sqrt(2 * layers)
/// (GPT-2), so that the stream keeps its scale whatever the depth. Initial weights depend on the seed and on names only. Parameter names
/// are those of Llama-style checkpoints.
/// </remarks>
public sealed class Transformer : Module
{
    private const double InitialDeviation = 0.02;
    private readonly Embedding _embedding;
    private readonly List<TransformerBlock> _blocks = [];
    private readonly RmsNorm _norm;
    private readonly Linear? _head;
    private int[] _positions = [];

    /// <summary>Makes a model with initial weights.</summary>
    /// <param name="backend">Computes every op.</param>
    /// <param name="config">The shape.</param>
    /// <param name="seed">Seed of the initial weights.</param>
    /// <exception cref="ArgumentException">The configuration is not valid.</exception>
    public Transformer(Backend backend, ModelConfig config, ulong seed)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(config);
        Backend = backend;
        Config = config.Validate();
        var init = new Initializer(backend, seed) { StandardDeviation = InitialDeviation };
        double outputStd = InitialDeviation / Math.Sqrt(2.0 * config.Layers);
        var attention = new AttentionOptions
        {
            Hidden = config.HiddenSize,
            Heads = config.Heads,
            KeyValueHeads = config.KeyValueHeads,
            HeadDim = config.HeadDim,
            Rope = new RopeSpec(config.HeadDim, config.RopeTheta),
            Epsilon = config.RmsNormEpsilon,
        };
        MoeOptions? moe = config.IsDense ? null : new MoeOptions
        {
            Hidden = config.HiddenSize,
            ExpertWidth = config.ExpertWidth,
            Router = config.Router,
            SharedWidth = config.SharedExpertWidth,
            Vocabulary = config.VocabularySize,
        };
        _embedding = Child(new Embedding(init, "model.embed_tokens", config.VocabularySize, config.HiddenSize, InitialDeviation));
        for (int layer = 0; layer < config.Layers; layer++)
        {
            _blocks.Add(Child(new TransformerBlock(
                init, $"model.layers.{layer}", attention, moe is null ? null : moe with { GatingResidual = config.GatingResidual && layer > 0 }, config.DenseWidth, config.RmsNormEpsilon, outputStd)));
        }

        _norm = Child(new RmsNorm(init, "model.norm", config.HiddenSize, config.RmsNormEpsilon));
        _head = config.TieEmbeddings
            ? null
            : Child(new Linear(init, "lm_head", config.HiddenSize, config.VocabularySize, InitialDeviation));
        MoeLayers = [.. _blocks.Select(block => block.Moe).OfType<MoeLayer>()];
        DenseLayers = [.. _blocks.Select(block => block.Dense).OfType<SwiGluMlp>()];
    }

    /// <summary>Computes every op.</summary>
    public Backend Backend { get; }

    /// <summary>The shape.</summary>
    public ModelConfig Config { get; }

    /// <summary>The MoE layers in order; none in a dense model.</summary>
    public IReadOnlyList<MoeLayer> MoeLayers { get; }

    /// <summary>The feed-forward layers of a dense model in order.</summary>
    public IReadOnlyList<SwiGluMlp> DenseLayers { get; }

    /// <summary>Everything a checkpoint of the model holds: parameters, then buffers.</summary>
    public IReadOnlyList<(string Name, Tensor Tensor)> StateTensors =>
        [.. Parameters.Select(parameter => (parameter.Name, parameter.Value)), .. Buffers];

    /// <summary>One empty cache per layer, for one sequence of at most the context length. The caller disposes them.</summary>
    public IReadOnlyList<KvCache> MakeCaches() =>
        [.. _blocks.Select(block => new KvCache(Backend, Config.ContextLength, block.Attention.CacheWidth))];

    /// <summary>Scores of the next token at every position.</summary>
    /// <param name="tape">Runs the ops.</param>
    /// <param name="ids">Int32 [batch * length].</param>
    /// <param name="batch">Sequences.</param>
    /// <param name="length">Tokens per sequence; with caches, tokens that follow what the caches hold.</param>
    /// <param name="caches">From <see cref="MakeCaches"/>, extended by this call, or null. Needs batch 1 and a tape that does not record.</param>
    /// <param name="pass">Number of this forward pass in training, for routers that draw random numbers; null outside training.</param>
    /// <param name="rehearsal">Whether the pass is made for its routing alone; see <see cref="RouterContext.Rehearsal"/>.</param>
    /// <exception cref="ArgumentException">Shapes do not fit, the sequence is longer than the context, or caches for a model that is not causal.</exception>
    public TransformerOutput Forward(
        Tape tape, Tensor ids, int batch, int length, IReadOnlyList<KvCache>? caches = null, long? pass = null, bool rehearsal = false)
    {
        ArgumentNullException.ThrowIfNull(tape);
        int start = caches is null ? 0 : caches[0].Length;
        Guard.That(batch >= 1 && length >= 1, $"A forward pass needs at least 1 sequence of 1 token, got {batch} of {length}.");
        Guard.That(caches is null || caches.Count == _blocks.Count, $"The model has {_blocks.Count} layers, got {caches?.Count} caches.");
        Guard.That(
            caches is null || Config.IsCausal,
            $"The router {Config.RouterName} lets later tokens decide about earlier ones, so this model cannot read or generate token by token; train one with a causal router for that.");
        Guard.That(
            start + length <= Config.ContextLength,
            $"The model reads {Config.ContextLength} tokens at most, got {start + length}.");
        Guard.Is(ids, DType.Int32, [(long)batch * length]);
        Tensor positions = Positions(tape, batch, length, start);
        Variable x = _embedding.Forward(tape, ids);
        var context = new RouterContext { TokenIds = ids, Pass = pass, Rehearsal = rehearsal };
        var layers = new List<MoeOutput>(_blocks.Count);
        for (int layer = 0; layer < _blocks.Count; layer++)
        {
            BlockOutput block = _blocks[layer].Forward(tape, x, positions, batch, length, caches?[layer], context);
            tape.Release(x);
            x = block.Output;
            if (block.Moe is { } moe)
            {
                layers.Add(moe);
                Release(tape, context.PreviousLogits);
                context = context with { PreviousLogits = Config.GatingResidual ? moe.Logits : null };
                Release(tape, Config.GatingResidual ? null : moe.Logits);
            }
        }

        Release(tape, context.PreviousLogits);

        Variable normed = _norm.Forward(tape, x);
        Variable logits = _head is null ? tape.Linear(normed, _embedding.Weight) : _head.Forward(tape, normed);
        return new TransformerOutput(logits, Mean(tape, layers, layer => layer.BalanceLoss), Mean(tape, layers, layer => layer.ZLoss), layers)
        {
            CodeLoss = Config.Codebook is null ? null : Mean(tape, layers, layer => layer.Discrete!.CodeLoss!),
        };
    }

    private static void Release(Tape tape, Variable? variable)
    {
        if (variable is not null)
        {
            tape.Release(variable);
        }
    }

    private static Variable? Mean(Tape tape, List<MoeOutput> layers, Func<MoeOutput, Variable> part)
    {
        if (layers.Count == 0)
        {
            return null;
        }

        Variable sum = part(layers[0]);
        for (int layer = 1; layer < layers.Count; layer++)
        {
            sum = tape.Add(sum, part(layers[layer]));
        }

        return tape.Scale(sum, 1.0 / layers.Count);
    }

    private Tensor Positions(Tape tape, int batch, int length, int start)
    {
        if (_positions.Length != batch * length)
        {
            _positions = new int[batch * length];
        }

        for (int i = 0; i < _positions.Length; i++)
        {
            _positions[i] = start + (i % length);
        }

        Tensor positions = tape.Rent(DType.Int32, _positions.Length);
        positions.CopyFrom<int>(_positions);
        return positions;
    }
}
