using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>A decoder over patches and then characters: one sequence, one stack of blocks, one pool of experts for both modalities.</summary>
/// <remarks>
/// Every position has an id: characters have theirs, patch number i has <see cref="FirstPatch"/> + i, whose row is its place. What a patch shows is added by a
/// linear map of its pixels, which are zeros where a character stands; so the two modalities need no joining of tensors.
/// </remarks>
internal sealed class SceneModel : Module
{
    /// <summary>Id of patch 0, after the characters.</summary>
    public const int FirstPatch = 128;

    /// <summary>Patches of a scene.</summary>
    public const int PatchCount = Scenes.Patches * Scenes.Patches;

    /// <summary>Positions of a sequence.</summary>
    public const int Length = PatchCount + Scenes.CaptionLength;

    private const double Epsilon = 1e-5;
    private readonly Embedding _embedding;
    private readonly Linear _pixels;
    private readonly List<TransformerBlock> _blocks = [];
    private readonly RmsNorm _norm;
    private readonly Linear _head;

    /// <summary>Makes a model.</summary>
    public SceneModel(Backend backend, MoeOptions moe, int layers, ulong seed)
    {
        const double Std = 0.1;
        const int Heads = 4;
        Backend = backend;
        int hidden = moe.Hidden, headDim = hidden / Heads;
        var init = new Initializer(backend, seed) { StandardDeviation = Std };
        var attention = new AttentionOptions { Hidden = hidden, Heads = Heads, KeyValueHeads = Heads, HeadDim = headDim, Rope = new RopeSpec(headDim, 10000), Epsilon = Epsilon };
        double outputStd = Std / Math.Sqrt(2.0 * layers);
        _embedding = Child(new Embedding(init, "embedding", FirstPatch + PatchCount, hidden, Std));
        _pixels = Child(new Linear(init, "pixels", Scenes.PatchValues, hidden, 1 / Math.Sqrt(Scenes.PatchValues)));
        for (int layer = 0; layer < layers; layer++)
        {
            _blocks.Add(Child(new TransformerBlock(init, $"layers.{layer}", attention, moe, denseWidth: 0, Epsilon, outputStd)));
        }

        _norm = Child(new RmsNorm(init, "norm", hidden, Epsilon));
        _head = Child(new Linear(init, "head", hidden, FirstPatch, Std));
    }

    /// <summary>Computes every op.</summary>
    public Backend Backend { get; }

    /// <summary>The MoE layers.</summary>
    public IReadOnlyList<MoeLayer> MoeLayers => [.. _blocks.Select(block => block.Moe!)];

    /// <summary>Scores of the next character at every position, and the routing of every layer.</summary>
    /// <param name="tape">Runs the ops.</param>
    /// <param name="ids">Int32 [batch * Length].</param>
    /// <param name="pixels">[batch * Length, PatchValues].</param>
    /// <param name="batch">Scenes.</param>
    public (Variable Logits, IReadOnlyList<MoeOutput> Layers) Forward(Tape tape, Tensor ids, Tensor pixels, int batch)
    {
        Tensor positions = tape.Rent(DType.Int32, (long)batch * Length);
        positions.CopyFrom<int>([.. Enumerable.Range(0, batch * Length).Select(i => i % Length)]);
        Variable x = tape.Add(_embedding.Forward(tape, ids), _pixels.Forward(tape, tape.Constant(pixels)));
        var layers = new List<MoeOutput>();
        foreach (TransformerBlock block in _blocks)
        {
            BlockOutput output = block.Forward(tape, x, positions, batch, Length);
            layers.Add(output.Moe!);
            x = output.Output;
        }

        return (_head.Forward(tape, _norm.Forward(tape, x)), layers);
    }
}
