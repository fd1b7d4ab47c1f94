using System.CommandLine;
using MoeSharp.Autograd;
using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Cli;

/// <summary>The options of <c>train</c> that shape a run, and how they change a preset.</summary>
/// <remarks>
/// Every option is optional and replaces one value of the preset; what depends on it follows (head width from width and heads, warm-up and
/// evaluation distance from the number of steps). None of them may be given with <c>--resume</c>: a run goes on with what it began with.
/// </remarks>
internal sealed class TrainOptionSet
{
    private const int Large = 1 << 20;

    private readonly Option<string> _preset = Options.Choice("--preset", $"Complete settings to start from [default: {Presets.Default}].", Presets.Names);
    private readonly Option<long?> _steps = Options.Number("--steps", "Optimizer steps.", 1L, long.MaxValue);
    private readonly Option<int?> _batch = Options.Number("--batch", "Sequences per batch.", 1, Large);
    private readonly Option<int?> _accumulate = Options.Number("--accumulate", "Batches per step, whose gradients are averaged; experts are balanced over all of them.", 1, Large);
    private readonly Option<int?> _context = Options.Number("--context", "Context length in bytes.", 2, Large);
    private readonly Option<int?> _layers = Options.Number("--layers", "Decoder layers.", 1, 1024);
    private readonly Option<int?> _hidden = Options.Number("--hidden", "Width of the residual stream.", 2, Large);
    private readonly Option<int?> _heads = Options.Number("--heads", "Attention heads; divides the width.", 1, 1024);
    private readonly Option<int?> _dense = Options.Number("--dense", "Dense feed-forward layers of this width instead of experts.", 1, Large);
    private readonly Option<int?> _experts = Options.Number("--experts", "Real experts per layer.", 1, 65536);
    private readonly Option<int?> _expertWidth = Options.Number("--expert-width", "Width of one expert.", 1, Large);
    private readonly Option<int?> _topK = Options.Number("--top-k", "Slots per token, null experts included; the most that a threshold, top-p or ReLU router fills.", 1, 65536);

    private readonly Option<string> _router = Options.Choice(
        "--router", "How tokens choose experts, as in the paper of that router [default: null, with --rho 1 top-k].", RouterFamily.Names);

    private readonly Option<double?> _threshold = Options.Number(
        "--threshold", "Probability mass that a threshold or top-p router collects.", 0.0, 1.0, aboveLow: true);

    private readonly Option<long?> _thresholdSteps = Options.Number(
        "--threshold-steps", "Steps over which the threshold rises to --threshold, so that the undecided router of the first steps takes few experts; 0 for none.", 0L, long.MaxValue);

    private readonly Option<double?> _thresholdStart = Options.Number(
        "--threshold-start", "Threshold of the first step when it rises [default: 0.1].", 0.0, 1.0, aboveLow: true);

    private readonly Option<double?> _balance = Options.Number("--balance-weight", "Weight of the loss that balances the experts.", 0.0, 1000.0);

    private readonly Option<int?> _codes = Options.Number("--codes", "Codes of a vq router, at least as many as experts [default: a code per expert].", 1, 65536);
    private readonly Option<int?> _codeWidth = Options.Number("--code-width", "Width of a code; below that of a token, codes live in a subspace.", 1, Large);
    private readonly Option<string> _codeDistance = Options.Choice("--code-distance", "What the nearest code is [default: euclidean].", ["euclidean", "cosine"]);
    private readonly Option<bool> _residual = new("--gating-residual") { Description = "Routers add a learnt map of the logits of the layer before (MoE++)." };

    private readonly Option<double?> _rho = Options.Number(
        "--rho", "Data sparsity: target share of slots that do real work; 1 is a plain MoE without null experts.", 0.0, 1.0, aboveLow: true);

    private readonly Option<string> _nullKind = Options.Choice("--null-kind", "What a null expert adds.", ["zero", "identity", "constant"]);
    private readonly Option<double?> _learningRate = Options.Number("--learning-rate", "Peak learning rate; it ends at a tenth.", 0.0, 10.0, aboveLow: true);
    private readonly Option<ulong?> _seed = Options.Number("--seed", "Seed of weights, batches and the sample.", 0UL, ulong.MaxValue);
    private readonly Option<long?> _saveEvery = Options.Number("--save-every", "Steps between checkpoints; 0 for the last only.", 0L, long.MaxValue);
    private readonly Option<long?> _evalEvery = Options.Number("--eval-every", "Steps between evaluations; 0 for the last only.", 0L, long.MaxValue);

    private readonly Option<string> _dtype = Options.FloatType();

    private Option[] All =>
    [
        _preset, _steps, _batch, _accumulate, _context, _layers, _hidden, _heads, _dense, .. Expert, .. Schedule, _learningRate, _seed, _saveEvery,
        _evalEvery, _dtype,
    ];

    private Option[] Expert => [_experts, _expertWidth, _router, _codes, _codeWidth, _codeDistance, _residual, _rho, _nullKind, .. Inference];

    /// <summary>Settings of a router that no weight depends on.</summary>
    private Option[] Inference => [_topK, _threshold];

    private Option[] Schedule => [_thresholdSteps, _thresholdStart, _balance];

    /// <summary>What decides which weights there are.</summary>
    private Option[] Shape => [_preset, _layers, _hidden, _heads, _dense, .. Expert.Except(Inference)];

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in All)
        {
            command.Add(option);
        }
    }

    /// <summary>Refuses options that a resumed run cannot follow.</summary>
    /// <exception cref="UsageException">One of them was given.</exception>
    public void RefuseAll(ParseResult parse)
    {
        string[] given = Given(parse, All);
        if (given.Length > 0)
        {
            throw new UsageException(
                $"--resume goes on with the settings the run began with; leave out {string.Join(", ", given)}, or start a new run without --resume.");
        }
    }

    /// <summary>The preset, or the settings of an initial model, with the given values in place.</summary>
    /// <exception cref="UsageException">The values do not fit together.</exception>
    public TrainOptions Build(ParseResult parse, string folder, IReadOnlyList<string> data, TrainOptions? initial)
    {
        if (initial is not null && Given(parse, Shape) is { Length: > 0 } given)
        {
            throw new UsageException($"--init brings the model of the run it names; leave out {string.Join(", ", given)}, or --init.");
        }

        TrainOptions preset = initial ?? Presets.Get(parse.GetValue(_preset) ?? Presets.Default);
        long steps = parse.GetValue(_steps) ?? preset.Steps;
        double peak = parse.GetValue(_learningRate) ?? preset.PeakLearningRate;
        var options = preset with
        {
            Model = initial is null ? Model(parse, preset.Model) : Continued(parse, preset.Model),
            RunFolder = folder,
            Data = data,
            FloatType = parse.GetValue(_dtype) is string type ? Options.FloatType(type) : preset.FloatType,
            BatchSize = parse.GetValue(_batch) ?? preset.BatchSize,
            AccumulationSteps = parse.GetValue(_accumulate) ?? preset.AccumulationSteps,
            Steps = steps,
            PeakLearningRate = peak,
            FloorLearningRate = parse.GetValue(_learningRate) is null ? preset.FloorLearningRate : peak / 10,

            // A run shorter than the preset still warms up gently and gives curves with enough points.
            WarmupSteps = steps < preset.Steps ? Math.Min(preset.WarmupSteps, Math.Max(1, steps / 10)) : preset.WarmupSteps,
            LogEvery = steps < preset.Steps ? Math.Clamp(steps / 40, 1, preset.LogEvery) : preset.LogEvery,
            EvaluateEvery = parse.GetValue(_evalEvery)
                ?? (steps < preset.Steps ? Math.Clamp(steps / 5, 1, preset.EvaluateEvery) : preset.EvaluateEvery),
            SaveEvery = parse.GetValue(_saveEvery) ?? preset.SaveEvery,
            ThresholdSteps = parse.GetValue(_thresholdSteps) ?? preset.ThresholdSteps,
            ThresholdStart = parse.GetValue(_thresholdStart) ?? preset.ThresholdStart,
            BalanceWeight = parse.GetValue(_balance) ?? preset.BalanceWeight,

            // A run that begins with a trained model goes on with text in another order.
            Seed = parse.GetValue(_seed) ?? (initial is null ? preset.Seed : unchecked(preset.Seed + 1)),
        };

        // The controller moves a bias on logits; a router without one leaves its null slots to the balance loss.
        options = options.Model.SelectionBias == SelectionBias.Logit ? options : options with { NullControllerRate = 0 };
        return Checked(() => (initial is null ? Recipe(parse, options) : options).Validate());
    }

    private static string[] Given(ParseResult parse, Option[] options) =>
        [.. options.Where(option => parse.GetResult(option) is { Implicit: false }).Select(option => option.Name)];

    private ModelConfig Model(ParseResult parse, ModelConfig preset)
    {
        int hidden = parse.GetValue(_hidden) ?? preset.HiddenSize;
        int heads = parse.GetValue(_heads) ?? preset.Heads;
        if (hidden % (2 * heads) != 0)
        {
            throw new UsageException($"A width of {hidden} does not split into {heads} heads of even width; choose --hidden as a multiple of {2 * heads}.");
        }

        ModelConfig model = preset with
        {
            HiddenSize = hidden,
            Heads = heads,
            HeadDim = hidden / heads,
            KeyValueHeads = heads % preset.KeyValueHeads == 0 ? preset.KeyValueHeads : heads,
            Layers = parse.GetValue(_layers) ?? preset.Layers,
            ContextLength = parse.GetValue(_context) ?? preset.ContextLength,
        };
        return parse.GetValue(_dense) is int width ? Dense(parse, model, width) : Router(parse, model with
        {
            Experts = parse.GetValue(_experts) ?? preset.Experts,
            ExpertWidth = parse.GetValue(_expertWidth) ?? preset.ExpertWidth,
            TopK = parse.GetValue(_topK) ?? preset.TopK,
            DataSparsity = parse.GetValue(_rho) ?? preset.DataSparsity,
            NullKind = parse.GetValue(_nullKind) is string kind ? Enum.Parse<NullKind>(kind, ignoreCase: true) : preset.NullKind,
            GatingResidual = parse.GetValue(_residual),
        });
    }

    /// <summary>The model of another run, with what no weight depends on.</summary>
    private ModelConfig Continued(ParseResult parse, ModelConfig model)
    {
        if (model.IsDense && Given(parse, Inference) is { Length: > 0 } given)
        {
            throw new UsageException($"The initial model is dense; leave out {string.Join(", ", given)}.");
        }

        model = model with { TopK = parse.GetValue(_topK) ?? model.TopK, ContextLength = parse.GetValue(_context) ?? model.ContextLength };
        return parse.GetValue(_threshold) is double threshold ? Checked(() => model.WithThreshold(threshold)) : model;
    }

    private ModelConfig Dense(ParseResult parse, ModelConfig model, int width)
    {
        string[] given = Given(parse, Expert);
        return given.Length > 0
            ? throw new UsageException($"--dense makes a model without experts; leave out {string.Join(", ", given)}, or --dense.")
            : model with { DenseWidth = width, Experts = 0, ExpertWidth = 0, TopK = 0, SharedExpertWidth = 0 };
    }

    /// <summary>The model with the named router; null slots beyond those of <c>null</c> are there when <c>--rho</c> asks for them.</summary>
    private ModelConfig Router(ParseResult parse, ModelConfig model)
    {
        if (parse.GetValue(_router) is string router)
        {
            model = Checked(() => model.WithRouter(router));
            model = parse.GetValue(_rho) is double rho ? model with { DataSparsity = rho } : model;
        }

        double? threshold = parse.GetValue(_threshold);
        if (threshold is not null && model.Selection != Selection.Threshold)
        {
            throw new UsageException($"--threshold {threshold} is for a threshold router; add --router threshold or top-p, or leave it out.");
        }

        model = Codebook(parse, model with { Threshold = threshold ?? model.Threshold });
        string described = RouterFamily.NameOf(model.Router);
        return parse.GetValue(_router) is string asked && asked != described
            ? throw new UsageException($"--router {asked} with --rho {model.DataSparsity} is the router {described}: name that one, or change --rho.")
            : model;
    }

    /// <summary>The model with the codebook that the options describe.</summary>
    private ModelConfig Codebook(ParseResult parse, ModelConfig model)
    {
        Option? given = Array.Find((Option[])[_codes, _codeWidth, _codeDistance], option => parse.GetResult(option) is { Implicit: false });
        if (model.Codebook is not { } codebook)
        {
            return given is null ? model : throw new UsageException($"{given.Name} is for a vq router; add --router vq, or leave it out.");
        }

        int width = parse.GetValue(_codeWidth) ?? codebook.Width;
        return model with
        {
            Codebook = codebook with
            {
                Codes = parse.GetValue(_codes) ?? codebook.Codes,
                Width = width == model.HiddenSize ? 0 : width,
                Distance = parse.GetValue(_codeDistance) is string distance ? Enum.Parse<CodeDistance>(distance, ignoreCase: true) : codebook.Distance,
            },
        };
    }

    /// <summary>
    /// How a router is trained where its paper says so: balancing without a loss by its bias alone, noisy top-k with one weight for both of
    /// its losses, ReLU held at half of the experts that a token may have.
    /// </summary>
    private TrainOptions Recipe(ParseResult parse, TrainOptions options) => options.Model.IsDense ? options : RouterFamily.NameOf(options.Model.Router) switch
    {
        "loss-free" => options with { BalanceWeight = 0, LoadBiasRate = LoadBiasController.PublishedRate },
        "relu" => options with { TargetExperts = options.Model.TopK / 2.0 },
        "noisy-top-k" => options with { BalanceWeight = parse.GetValue(_balance) ?? NoisyTopKRouter.PublishedLossWeight },
        _ => options,
    };

    private static T Checked<T>(Func<T> make)
    {
        try
        {
            return make();
        }
        catch (ArgumentException error)
        {
            throw new UsageException(CommandHost.Message(error));
        }
    }
}
