using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>One optimizer step: micro-batches forward and backward, the controllers, the update. Allocates no tensors after the first.</summary>
/// <remarks>
/// loss = cross-entropy + balance weight * balance loss + z weight * z-loss + code weight * loss of the codebooks (a dense model: cross-entropy
/// alone), averaged over micro-batches. The balance loss counts loads over the whole step (<see cref="GlobalBalance"/>) or per micro-batch, as
/// the options say. The controllers move once per step, by the routing of all micro-batches together.
/// </remarks>
internal sealed class OptimizationStep : IDisposable
{
    private readonly TrainOptions _options;
    private readonly Transformer _model;
    private readonly AdamW _optimizer;
    private readonly BatchSampler _sampler;
    private readonly Tape _tape;
    private readonly NullRateController? _controller;
    private readonly LoadBiasController? _loadBias;
    private readonly GlobalBalance? _balance;
    private readonly RoutingMeter _meter;
    private readonly Tensor _ids;
    private readonly Tensor _targets;
    private SparsityController? _sparsity;

    public OptimizationStep(TrainOptions options, Transformer model, AdamW optimizer, byte[] train)
    {
        _options = options;
        _model = model;
        _optimizer = optimizer;
        int context = options.Model.ContextLength;
        _sampler = new BatchSampler(train, options.BatchSize, context, options.Seed);
        _tape = new Tape(model.Backend);
        _meter = new RoutingMeter(options);
        bool controlled = options.NullControllerRate > 0 && options.Model.NullSlots > 0;
        _controller = controlled ? new NullRateController(options.Model.DataSparsity, options.NullControllerRate) : null;
        _loadBias = options.LoadBiasRate > 0 ? new LoadBiasController(options.LoadBiasRate) : null;
        bool together = options.AccumulationSteps > 1 && options.BalanceWeight > 0 && options.BalanceScope == BalanceScope.Step;
        _balance = together ? new GlobalBalance(model.Backend, model.MoeLayers, options.AccumulationSteps) : null;
        SparsityWeight = SparsityController.InitialCoefficient;
        using (TensorScope.Suspend())
        {
            var shape = new Shape(checked((long)options.BatchSize * context));
            _ids = model.Backend.Empty(shape, DType.Int32);
            _targets = model.Backend.Empty(shape, DType.Int32);
        }
    }

    /// <summary>Learning rate of the last step.</summary>
    public double Rate { get; private set; }

    /// <summary>Weight of the balance loss where a target number of experts moves it; part of a checkpoint.</summary>
    public double SparsityWeight
    {
        get => _sparsity?.Coefficient ?? 0;
        set => _sparsity = _options.TargetExperts > 0 && value > 0
            ? new SparsityController(1 - (_options.TargetExperts / _options.Model.Experts), value)
            : null;
    }

    /// <summary>Gradient norm of the last step, before clipping.</summary>
    public double GradientNorm { get; private set; }

    /// <summary>Makes a step, counted from 1, and adds its loss and routing to a meter.</summary>
    /// <exception cref="TrainingException">Loss or gradient norm are not finite.</exception>
    public void Run(long step, RoutingMeter meter)
    {
        _optimizer.ZeroGradients();
        _meter.Clear();
        SetThreshold(ThresholdAnnealing.Linear(step, _options.ThresholdSteps, _options.ThresholdStart, _options.Model.Threshold));
        MeasureLoads(step);
        for (int micro = 0; micro < _options.AccumulationSteps; micro++)
        {
            long pass = Draw(step, micro);
            _balance?.Enter(micro);
            ForwardBackward(step, micro, pass);
            _tape.Reset();
        }

        _balance?.Leave();
        SetThreshold(_options.Model.Threshold);
        for (int layer = 0; layer < _model.MoeLayers.Count; layer++)
        {
            _controller?.Update(_model.MoeLayers[layer], _meter.RealShare(layer));
            _loadBias?.Update(_model.MoeLayers[layer], _meter.Counts[layer]);
        }

        _sparsity?.Update(1 - (_meter.MeanRealSlots() / ((double)_options.TokensPerStep * _options.Model.Experts)));
        Rate = LearningRate.WarmupCosine(
            step, Math.Min(_options.WarmupSteps, _options.Steps), _options.Steps, _options.PeakLearningRate, _options.FloorLearningRate);
        _optimizer.Update(Rate);
        foreach (MoeLayer layer in _model.MoeLayers)
        {
            layer.Codes?.Revive();
        }

        GradientNorm = _optimizer.LastNorm.ToDoubles()[0];
        if (!double.IsFinite(GradientNorm))
        {
            throw NonFiniteSearch.InBackward(step, GradientNorm, _model);
        }

        meter.Add(_meter);
    }

    public void Dispose()
    {
        _balance?.Dispose();
        _tape.Dispose();
        _ids.Dispose();
        _targets.Dispose();
    }

    /// <summary>Sets the threshold of a step; evaluations, samples and the saved model have that of the options.</summary>
    private void SetThreshold(double threshold)
    {
        for (int layer = 0; _options.ThresholdSteps > 0 && layer < _model.MoeLayers.Count; layer++)
        {
            _model.MoeLayers[layer].Router.SetThreshold(threshold);
        }
    }

    /// <summary>The text of a micro-batch; returns its number in the run.</summary>
    private long Draw(long step, int micro)
    {
        long pass = ((step - 1) * _options.AccumulationSteps) + micro;
        _sampler.Draw(pass, _ids, _targets);
        return pass;
    }

    private TransformerOutput Forward(long pass, bool rehearsal) =>
        _model.Forward(_tape, _ids, _options.BatchSize, _options.Model.ContextLength, pass: pass, rehearsal: rehearsal);

    /// <summary>Expert loads of all micro-batches but the first, whose own pass comes before they are needed.</summary>
    private void MeasureLoads(long step)
    {
        _balance?.Clear();
        for (int micro = 1; _balance is not null && micro < _options.AccumulationSteps; micro++)
        {
            // On the tape that trains: the same pass as the one that follows, in the same memory.
            _balance.Record(micro, Forward(Draw(step, micro), rehearsal: true).Layers);
            _tape.Reset();
        }
    }

    private void ForwardBackward(long step, int micro, long pass)
    {
        TransformerOutput output = Forward(pass, rehearsal: false);
        _balance?.Record(micro, output.Layers);
        Variable entropy = _tape.CrossEntropy(output.Logits, _targets, out _);
        double nats = entropy.Value.ToDoubles()[0];
        if (!double.IsFinite(nats))
        {
            throw NonFiniteSearch.InForward(step, nats, _model, output);
        }

        _meter.Add(nats, output.Layers);
        _tape.Backward(Loss(entropy, output), 1.0 / _options.AccumulationSteps);
    }

    private Variable Loss(Variable entropy, TransformerOutput output)
    {
        if (output.BalanceLoss is null || output.ZLoss is null)
        {
            return entropy;
        }

        Variable balance = _tape.Scale(output.BalanceLoss, _sparsity?.Coefficient ?? _options.BalanceWeight);
        Variable z = _tape.Scale(output.ZLoss, _options.ZLossWeight);
        Variable auxiliary = _tape.Add(balance, z);
        if (output.CodeLoss is { } codes)
        {
            auxiliary = _tape.Add(auxiliary, _tape.Scale(codes, _options.CodeWeight));
        }

        return _tape.Add(entropy, auxiliary);
    }
}
