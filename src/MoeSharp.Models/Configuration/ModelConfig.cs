using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>The shape of a model: everything but its weights. Reads and writes <c>config.json</c>.</summary>
/// <remarks>Field names in the file follow Hugging Face where a name exists there (<c>hidden_size</c>, <c>num_experts_per_tok</c>, ...).</remarks>
public sealed record ModelConfig
{
    /// <summary>Name of this engine's architecture in <c>config.json</c>.</summary>
    public const string MoeSharpType = "moesharp";

    /// <summary>Architecture; only <c>moesharp</c> is implemented.</summary>
    public string ModelType { get; init; } = MoeSharpType;

    /// <summary>Tokens; 256 for a byte-level model.</summary>
    public int VocabularySize { get; init; } = 256;

    /// <summary>Width d of the residual stream.</summary>
    public required int HiddenSize { get; init; }

    /// <summary>Decoder layers.</summary>
    public required int Layers { get; init; }

    /// <summary>Query heads.</summary>
    public required int Heads { get; init; }

    /// <summary>Key/value heads; divides <see cref="Heads"/>.</summary>
    public required int KeyValueHeads { get; init; }

    /// <summary>Width of a head, even.</summary>
    public required int HeadDim { get; init; }

    /// <summary>Width H of the feed-forward layer of a dense model; 0 for a model with experts. A dense model has no experts and no router.</summary>
    public int DenseWidth { get; init; }

    /// <summary>Width n of one expert.</summary>
    public int ExpertWidth { get; init; }

    /// <summary>Where the router's logits come from; <see cref="WithRouter"/> sets this and what belongs to it.</summary>
    public RouterKind RouterKind { get; init; } = RouterKind.Linear;

    /// <summary>Whether a router adds a learnt map of the router logits of the layer before it (MoE++, arXiv 2410.07348).</summary>
    public bool GatingResidual { get; init; }

    /// <summary>The codebook of every layer (VQMoE, arXiv 2411.19402); null for none.</summary>
    public CodebookSpec? Codebook { get; init; }

    /// <summary>Real experts E per layer.</summary>
    public int Experts { get; init; }

    /// <summary>Slots K per token; the most that a threshold or ReLU router fills.</summary>
    public int TopK { get; init; }

    /// <summary>Target share rho of slots that hit a real expert, in (0, 1]; 1 is a plain MoE (arXiv 2601.15370).</summary>
    public double DataSparsity { get; init; } = 0.5;

    /// <summary>What a null slot adds.</summary>
    public NullKind NullKind { get; init; } = NullKind.Zero;

    /// <summary>One null logit for all copies (the paper), or one per copy.</summary>
    public bool SharedNullLogit { get; init; } = true;

    /// <summary>Whether a token takes K slots, or the fewest whose probabilities reach <see cref="Threshold"/> (XMoE, arXiv 2403.18926).</summary>
    public Selection Selection { get; init; } = Selection.TopK;

    /// <summary>Probability mass in (0, 1] that a threshold router collects.</summary>
    public double Threshold { get; init; } = 0.9;

    /// <summary>Which slots the load of the balance loss counts.</summary>
    public BalanceLoad BalanceLoad { get; init; } = BalanceLoad.AllSlots;

    /// <summary>Score function of the router.</summary>
    public ScoreFunction Score { get; init; } = ScoreFunction.Softmax;

    /// <summary>Which chosen slots normalise the combine weights.</summary>
    public Renormalize Renormalize { get; init; } = Renormalize.ChosenExceptZero;

    /// <summary>Factor on every combine weight (routed_scaling_factor of DeepSeek-V3); the number of experts for a model that was split from a dense one.</summary>
    public double RoutedScale { get; init; } = 1;

    /// <summary>Selection-only bias of the router; the null-rate controller of the trainer needs <see cref="SelectionBias.Logit"/>.</summary>
    public SelectionBias SelectionBias { get; init; } = SelectionBias.Logit;

    /// <summary>Width of the shared expert that every token uses; 0 for none.</summary>
    public int SharedExpertWidth { get; init; }

    /// <summary>Longest sequence in tokens.</summary>
    public required int ContextLength { get; init; }

    /// <summary>Base of the rotary frequencies.</summary>
    public double RopeTheta { get; init; } = 10000;

    /// <summary>Added to the mean square in norms.</summary>
    public double RmsNormEpsilon { get; init; } = 1e-5;

    /// <summary>Whether the output head is the embedding table.</summary>
    public bool TieEmbeddings { get; init; } = true;

    /// <summary>Fields of a <c>config.json</c> that this engine does not know; they are ignored.</summary>
    public IReadOnlyList<string> UnknownFields { get; init; } = [];

    /// <summary>Whether every token passes the whole of one feed-forward layer.</summary>
    public bool IsDense => DenseWidth > 0;

    /// <summary>Whether no later token can change what an earlier one gives: what generating token by token needs.</summary>
    public bool IsCausal => IsDense || Router.IsCausal;

    /// <summary>Name of the router in its family (<see cref="RouterFamily"/>); <c>none</c> for a dense model.</summary>
    public string RouterName => IsDense ? "none" : RouterFamily.NameOf(Router);

    /// <summary>Layers with experts.</summary>
    public int MoeLayers => IsDense ? 0 : Layers;

    /// <summary>Null slots M = E (1 - rho) / rho, rounded.</summary>
    public int NullSlots => RouterSpec.NullSlotsFor(Experts, DataSparsity);

    /// <summary>The routing rules these fields describe.</summary>
    /// <exception cref="InvalidOperationException">The model is dense.</exception>
    public RouterSpec Router => IsDense ? throw new InvalidOperationException("A dense model has no router.") : new()
    {
        Kind = RouterKind,
        Codebook = Codebook,
        Experts = Experts,
        TopK = TopK,
        Selection = Selection,
        Threshold = Threshold,
        BalanceLoad = BalanceLoad,
        Score = Score,
        Nulls = NullSlots == 0 ? [] : [new NullGroup(NullKind, NullSlots)],
        SharedNullLogit = SharedNullLogit,
        Renormalize = Renormalize,
        Scale = RoutedScale,
        SelectionBias = SelectionBias,
    };

    /// <summary>Number of trained values.</summary>
    public long ParameterCount
    {
        get
        {
            long d = HiddenSize, q = (long)Heads * HeadDim, kv = (long)KeyValueHeads * HeadDim;
            long layer = (2 * d) + (d * ((2 * q) + (2 * kv))) + (IsDense ? 3L * d * DenseWidth : MoeParameterCount);
            long residuals = GatingResidual ? (Layers - 1L) * Router.Columns * Router.Columns : 0;
            return (VocabularySize * d * (TieEmbeddings ? 1 : 2)) + d + (Layers * layer) + residuals;
        }
    }

    /// <summary>Trained values that a token uses on average when its share of real slots is <see cref="DataSparsity"/>.</summary>
    public long ActiveParameterCount =>
        ParameterCount - (long)Math.Round(3.0 * HiddenSize * ExpertWidth * Layers * (Experts - (TopK * DataSparsity)));

    /// <summary>Parses <c>config.json</c>.</summary>
    /// <param name="json">The text.</param>
    /// <param name="fileNameForErrors">Named in messages.</param>
    /// <exception cref="CheckpointFormatException">Not JSON, a field is missing or out of range.</exception>
    /// <exception cref="UnsupportedModelException">The architecture is another one.</exception>
    public static ModelConfig FromJson(string json, string fileNameForErrors) => ModelConfigJson.Read(json, fileNameForErrors);

    /// <summary>This configuration with a member of the <see cref="RouterFamily"/> as its paper has it.</summary>
    /// <remarks>Null slots are kept by <c>null</c> alone (rho 0.5 when there were none); set <see cref="DataSparsity"/> afterwards for others that take them.</remarks>
    /// <param name="name">One of <see cref="RouterFamily.Names"/>.</param>
    /// <exception cref="ArgumentException">There is no such router, or it does not go with the experts per token.</exception>
    public ModelConfig WithRouter(string name)
    {
        RouterSpec spec = RouterFamily.Make(name, Experts, TopK);
        return this with
        {
            RouterKind = spec.Kind,
            Codebook = spec.Codebook,
            Selection = spec.Selection,
            Threshold = spec.Selection == Selection.Threshold ? spec.Threshold : Threshold,
            BalanceLoad = spec.BalanceLoad,
            Score = spec.Score,
            Renormalize = spec.Renormalize,
            SelectionBias = spec.SelectionBias,
            DataSparsity = spec.NullSlots == 0 ? 1 : DataSparsity < 1 ? DataSparsity : 0.5,
        };
    }

    /// <summary>This configuration with another probability mass for its threshold router: fewer experts per token, for less work, without training.</summary>
    /// <exception cref="ArgumentException">The model has no threshold router, or the mass is not in (0, 1].</exception>
    public ModelConfig WithThreshold(double threshold)
    {
        Guard.That(
            !IsDense && Selection == Selection.Threshold,
            $"A threshold of {threshold} needs a model with a threshold router; this one {(IsDense ? "is dense" : $"has the router {RouterFamily.NameOf(Router)}")}.");
        return (this with { Threshold = threshold }).Validate();
    }

    /// <summary>The text of <c>config.json</c>, indented, ending in a line feed.</summary>
    public string ToJson() => ModelConfigJson.Write(this);

    /// <summary>The text of <c>config.json</c>.</summary>
    public override string ToString() => ToJson();

    /// <summary>Checks every field against the others.</summary>
    /// <returns>This configuration, for chaining.</returns>
    /// <exception cref="ArgumentException">A value is out of range; the message says which.</exception>
    public ModelConfig Validate()
    {
        AtLeastOne(VocabularySize, "vocabulary size");
        AtLeastOne(HiddenSize, "hidden size");
        AtLeastOne(Layers, "number of layers");
        AtLeastOne(Heads, "number of heads");
        AtLeastOne(KeyValueHeads, "number of key/value heads");
        Guard.That(Heads % KeyValueHeads == 0, $"The key/value heads must divide the heads, got {KeyValueHeads} and {Heads}.");
        Guard.That(HeadDim >= 2 && HeadDim % 2 == 0, $"The head width is even and at least 2, got {HeadDim}.");
        Guard.That(ContextLength >= 2, $"The context length is at least 2, got {ContextLength}.");
        Guard.That(SharedExpertWidth >= 0, $"The shared expert width is at least 0, got {SharedExpertWidth}.");
        Guard.That(DataSparsity is > 0 and <= 1, $"The data sparsity is in (0, 1], got {DataSparsity}.");
        Guard.That(double.IsFinite(RopeTheta) && RopeTheta > 0, $"The rope theta is positive, got {RopeTheta}.");
        Guard.That(double.IsFinite(RmsNormEpsilon) && RmsNormEpsilon > 0, $"The norm epsilon is positive, got {RmsNormEpsilon}.");
        Guard.That(DenseWidth >= 0, $"The width of a dense feed-forward layer is at least 0, got {DenseWidth}.");
        if (IsDense)
        {
            Guard.That(
                Experts == 0 && ExpertWidth == 0 && TopK == 0 && SharedExpertWidth == 0 && !GatingResidual,
                $"A dense model has no experts: set Experts, ExpertWidth, TopK and SharedExpertWidth to 0, got {Experts}, {ExpertWidth}, {TopK} and {SharedExpertWidth}, or DenseWidth, which is {DenseWidth}.");
            return this;
        }

        AtLeastOne(ExpertWidth, "expert width");
        AtLeastOne(Experts, "number of experts");
        AtLeastOne(TopK, "number of experts per token");
        _ = Router.Validate();
        Guard.That(
            !GatingResidual || RouterKind != RouterKind.Hash, "A hash router has no logits that a gating residual could add to: leave out one of the two.");
        return this;
    }

    private long MoeParameterCount
    {
        get
        {
            RouterSpec router = Router;
            return RouterParameterCount(router)
                + (3L * HiddenSize * (((long)ExpertWidth * Experts) + SharedExpertWidth + router.ConstantSlots));
        }
    }

    private long RouterParameterCount(RouterSpec router)
    {
        long linear = router.Kind switch
        {
            RouterKind.Cosine => ((long)router.CosineWidth * (HiddenSize + router.Columns)) + 1,
            RouterKind.Hash => 0,
            RouterKind.NoisyTopK => 2L * router.Columns * HiddenSize,
            _ => (long)router.Columns * HiddenSize,
        };
        return Codebook is null
            ? linear
            : (Codebook.DiscreteOnly ? 0 : linear) + ((long)Codebook.Codes * (Codebook.Width == 0 ? HiddenSize : Codebook.Width)) + (3L * HiddenSize) + 1;
    }

    private static void AtLeastOne(int value, string what) => Guard.That(value >= 1, $"The {what} is at least 1, got {value}.");
}
