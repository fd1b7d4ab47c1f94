using System.Diagnostics;
using System.Text;
using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Trains a byte-level transformer and keeps everything about the run in one folder.</summary>
/// <remarks>
/// <para>Deterministic: the same options, data and backend give the same files bit for bit (times in the metrics aside), on any number
/// of threads, and also when the run was cancelled or killed any number of times and resumed: batches are functions of (seed, step), and a
/// checkpoint is one atomically replaced file (see <see cref="RunFolder"/>).</para>
/// <para>Order inside a step: update, log line, evaluation, checkpoint. So a checkpoint of step N is never older than a
/// metrics line of step N. Not thread-safe.</para>
/// </remarks>
public sealed class Trainer : IDisposable
{
    // Some twenty lines: what a reader looks through.
    private const int ExcerptBytes = 800;

    private readonly RunLock _lock;
    private readonly MetricsLog _log;
    private readonly AdamW _optimizer;
    private readonly RoutingMeter _meter;
    private readonly OptimizationStep _step;
    private readonly Tape _inference;
    private readonly Stopwatch _session = new();
    private readonly Stopwatch _training = new();
    private double _secondsBefore;
    private TrainProgress? _progress;
    private double _loggedSeconds;
    private long _sessionSteps;
    private long _loggedSteps;
    private long _savedStep = -1;
    private bool _failed;

    private Trainer(Backend backend, TrainOptions options, CorpusResult corpus, Transformer model, RunLock runLock, MetricsLog log)
    {
        Options = options;
        Corpus = corpus;
        Model = model;
        _lock = runLock;
        _log = log;
        _optimizer = new AdamW(
            backend, model.Parameters, new AdamWOptions { WeightDecay = options.WeightDecay, ClipNorm = options.ClipNorm });
        _meter = new RoutingMeter(options);
        _step = new OptimizationStep(options, model, _optimizer, corpus.Train);
        _inference = new Tape(backend, record: false);
    }

    /// <summary>The options of the run.</summary>
    public TrainOptions Options { get; }

    /// <summary>The text.</summary>
    public CorpusResult Corpus { get; }

    /// <summary>The model that is trained; owned by the trainer.</summary>
    public Transformer Model { get; }

    /// <summary>Optimizer steps done.</summary>
    public long Step { get; private set; }

    private double Seconds => _secondsBefore + _session.Elapsed.TotalSeconds;

    /// <summary>Begins a run in a new or empty folder. Data and options are checked before anything is written.</summary>
    /// <param name="backend">Computes; borrowed.</param>
    /// <param name="options">The run.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    /// <exception cref="DataException">The data cannot be used.</exception>
    /// <exception cref="CheckpointFormatException">The folder is not empty or cannot be written, or the initial model is broken or of another shape.</exception>
    public static Trainer Start(Backend backend, TrainOptions options)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(options);
        Guard.That(!string.IsNullOrWhiteSpace(options.RunFolder), "A run needs a folder: set TrainOptions.RunFolder.");
        RunFolder.CheckFree(options.RunFolder);
        CorpusResult corpus = LoadCorpus(options.Validate());

        // Full paths, so that the run can be resumed from another working directory.
        string initial = options.InitialModel.Length == 0 ? string.Empty : Path.GetFullPath(options.InitialModel);
        options = options with { Data = [.. options.Data.Select(Path.GetFullPath)], InitialModel = initial };
        return Open(backend, options, corpus, isNew: true);
    }

    /// <summary>Goes on with a run from its last checkpoint, or from the beginning when it was stopped before its first one.</summary>
    /// <param name="backend">Computes; borrowed.</param>
    /// <param name="runFolder">The folder of the run.</param>
    /// <param name="data">Where the data is now, or null when it did not move.</param>
    /// <exception cref="CheckpointFormatException">The folder holds no run, or a file in it is broken.</exception>
    /// <exception cref="DataException">The data cannot be read or is not the data the run began with.</exception>
    public static Trainer Resume(Backend backend, string runFolder, IReadOnlyList<string>? data = null)
    {
        ArgumentNullException.ThrowIfNull(backend);
        TrainOptions options = RunFolder.LoadOptions(runFolder);
        if (File.Exists(RunFolder.ModelPath(runFolder)) && !File.Exists(RunFolder.OptimizerPath(runFolder)))
        {
            throw new CheckpointFormatException(
                $"The folder '{runFolder}' holds a model without a checkpoint, so there is no run to go on with; begin one from its weights: moe train --init {runFolder}");
        }

        options = data is null ? options : options with { Data = data };
        CorpusResult corpus = LoadCorpus(options);
        string expected = CorpusIdentity.Read(runFolder);
        if (corpus.Sha256 != expected)
        {
            throw new DataException(
                $"The data of the run in '{runFolder}' changed since it began (SHA-256 {expected[..Math.Min(12, expected.Length)]}..., now {corpus.Sha256[..12]}... in {corpus.TotalBytes} bytes); restore it, or start a new run.");
        }

        return Open(backend, options, corpus, isNew: false);
    }

    /// <summary>Trains to the last step, then evaluates, measures the yardsticks and writes a sample.</summary>
    /// <param name="progress">Told at every log line and evaluation, on the calling thread or as it decides.</param>
    /// <param name="token">Cancelling finishes the step, saves and returns with <see cref="TrainResult.Interrupted"/>.</param>
    /// <exception cref="TrainingException">Loss or gradients are not finite, or a checkpoint cannot be written; the last good one is kept.</exception>
    public TrainResult Run(IProgress<TrainProgress>? progress = null, CancellationToken token = default)
    {
        if (_failed)
        {
            throw new InvalidOperationException("This trainer failed; dispose it and resume the run from its folder.");
        }

        _session.Start();
        try
        {
            while (Step < Options.Steps && !token.IsCancellationRequested)
            {
                OneStep(progress, token);
            }

            SaveIfBehind();
            return token.IsCancellationRequested ? Interrupted() : Finish(progress, token);
        }
        catch (OperationCanceledException)
        {
            SaveIfBehind();
            return Interrupted();
        }
        catch
        {
            _failed = true;
            throw;
        }
        finally
        {
            _training.Stop();
            _session.Stop();
        }
    }

    /// <summary>Frees model, optimizer and folder. Does not save.</summary>
    public void Dispose()
    {
        _step.Dispose();
        _inference.Dispose();
        _optimizer.Dispose();
        Model.Dispose();
        _log.Dispose();
        _lock.Dispose();
    }

    private static CorpusResult LoadCorpus(TrainOptions options) =>
        TextCorpus.Load(options.Data, options.Model.ContextLength + 1L, options.ValidationBytes);

    private static Trainer Open(Backend backend, TrainOptions options, CorpusResult corpus, bool isNew)
    {
        string folder = options.RunFolder;
        Transformer model = new(backend, options.Model, options.Seed);
        RunLock? runLock = null;
        MetricsLog? log = null;
        Trainer? trainer = null;
        try
        {
            // Before anything is written, and before the optimizer takes its copies. A checkpoint holds the weights of its step.
            if (options.InitialModel.Length > 0 && !File.Exists(RunFolder.OptimizerPath(folder)))
            {
                RunFolder.Fill(options.InitialModel, model);
            }

            Directory.CreateDirectory(folder);
            runLock = RunLock.Take(folder);
            AtomicFile.CleanUp(folder);
            if (isNew)
            {
                // From this file on, the run can be resumed; what a kill kept from being written after it is written then.
                CorpusIdentity.Write(options, corpus);
            }

            if (!File.Exists(RunFolder.ConfigPath(folder)))
            {
                AtomicFile.WriteText(RunFolder.ConfigPath(folder), options.Model.ToJson());
            }

            log = MetricsLog.Open(RunFolder.MetricsPath(folder));
            trainer = new Trainer(backend, options, corpus, model, runLock, log);
            trainer.Restore();
            return trainer;
        }
        catch (Exception error)
        {
            trainer?.Dispose();
            log?.Dispose();
            model.Dispose();
            runLock?.Dispose();
            if (error is IOException or UnauthorizedAccessException)
            {
                throw new CheckpointFormatException($"The run folder '{folder}' cannot be used: {error.Message}", error);
            }

            throw;
        }
    }

    private void Restore()
    {
        if (RunFolder.LoadCheckpoint(Options.RunFolder, Model, _optimizer, _meter) is { } state)
        {
            Step = state.Step;
            _savedStep = state.Step;
            _secondsBefore = state.Seconds;
            _step.SparsityWeight = state.SparsityWeight;
        }
        else if (Options.InitialModel.Length > 0)
        {
            SaveIfBehind();
        }

        _log.CutAfter(Step);
    }

    private void OneStep(IProgress<TrainProgress>? progress, CancellationToken token)
    {
        long step = Step + 1;
        _training.Start();
        _step.Run(step, _meter);
        _training.Stop();
        Step = step;
        _sessionSteps++;
        if (step == 1 || step % Options.LogEvery == 0 || step == Options.Steps)
        {
            Log(progress);
        }

        bool last = step == Options.Steps;
        if (!last && Options.EvaluateEvery > 0 && step % Options.EvaluateEvery == 0)
        {
            EvaluationResult result = Evaluator.Run(
                Model, _inference, Corpus.Validation, Options.BatchSize, Options.EvaluationBytes, CancellationToken.None);
            LogEvaluation(result, isFinal: false, progress);
        }

        if (!token.IsCancellationRequested && (last || (Options.SaveEvery > 0 && step % Options.SaveEvery == 0)))
        {
            SaveIfBehind();
        }
    }

    private void Log(IProgress<TrainProgress>? progress)
    {
        double seconds = _training.Elapsed.TotalSeconds;
        double stepsPerSecond = (_sessionSteps - _loggedSteps) / Math.Max(seconds - _loggedSeconds, 1e-9);
        (_loggedSeconds, _loggedSteps) = (seconds, _sessionSteps);
        int[] layers = [.. Enumerable.Range(0, Options.Model.MoeLayers)];
        var metrics = new TrainMetrics(
            Step,
            _meter.BitsPerByte,
            _step.Rate,
            _step.GradientNorm,
            stepsPerSecond * Options.TokensPerStep,
            Seconds,
            _meter.LoadBalance(),
            _meter.MeanNullShare(),
            [.. layers.Select(_meter.NullShare)],
            [.. layers.Select(_meter.ExpertLoad)])
        {
            RealExperts = [.. layers.Select(_meter.RealExperts)],
        };
        _meter.Clear();
        _log.Append(MetricsJson.Write(metrics));
        _progress = new TrainProgress(
            Step,
            Options.Steps,
            metrics.TokensPerSecond,
            metrics.TrainBitsPerByte,
            null,
            metrics.LearningRate,
            metrics.MeanNullShare,
            metrics.LoadBalance,
            metrics.GradientNorm,
            TimeSpan.FromSeconds(metrics.ElapsedSeconds),
            TimeSpan.FromSeconds((Options.Steps - Step) / stepsPerSecond));
        progress?.Report(_progress);
    }

    private void LogEvaluation(EvaluationResult result, bool isFinal, IProgress<TrainProgress>? progress)
    {
        _log.Append(MetricsJson.Write(new EvaluationMetrics(Step, isFinal, result)));
        if (_progress is not null)
        {
            progress?.Report(_progress with { Step = Step, ValidationBitsPerByte = result.BitsPerByte, Elapsed = TimeSpan.FromSeconds(Seconds) });
        }
    }

    private void SaveIfBehind()
    {
        if (_savedStep == Step)
        {
            return;
        }

        try
        {
            RunFolder.SaveCheckpoint(Options.RunFolder, Model, _optimizer, new TrainState(Step, Seconds, _step.SparsityWeight), _meter);
            _savedStep = Step;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new TrainingException(
                $"The checkpoint of step {Step} cannot be written to '{Options.RunFolder}': {error.Message} The one before it is kept; make room and resume.", error);
        }
    }

    private double TokensPerSecond() =>
        _sessionSteps == 0 ? 0 : _sessionSteps * Options.TokensPerStep / Math.Max(_training.Elapsed.TotalSeconds, 1e-9);

    private IReadOnlyList<IReadOnlyList<double>> RealExperts(byte[] text) =>
        [.. Evaluator.RealExperts(Model, text).Select(layer => (IReadOnlyList<double>)Array.ConvertAll(layer, count => (double)count))];

    private TrainResult Interrupted() =>
        new(Options.RunFolder, Step, double.NaN, double.NaN, [], string.Empty, Interrupted: true, TokensPerSecond());

    private TrainResult Finish(IProgress<TrainProgress>? progress, CancellationToken token)
    {
        EvaluationResult evaluation = Evaluator.Run(
            Model, _inference, Corpus.Validation, Options.BatchSize, long.MaxValue, token);
        IReadOnlyList<YardstickRow> yardsticks = Yardsticks.Measure(Corpus.Train, Corpus.Validation);

        // A model that is not causal cannot write one.
        int length = Model.Config.IsCausal ? Options.SampleBytes : 0;
        byte[] sample = new Generator(Model).Generate([], new GenerateOptions { Seed = Options.Seed, MaxTokens = length }, token);
        double tokensPerSecond = TokensPerSecond();
        byte[] excerpt = Excerpt.Of(Corpus.Validation, ExcerptBytes);
        LogEvaluation(evaluation, isFinal: true, progress);
        _log.Append(MetricsJson.Write(
            new FinalMetrics(Step, yardsticks, sample, Evaluator.NullShares(Model, sample), tokensPerSecond)
            {
                SampleRealExperts = RealExperts(sample), Excerpt = excerpt, ExcerptRealExperts = RealExperts(excerpt),
            }));
        return new TrainResult(
            Options.RunFolder,
            Step,
            evaluation.BitsPerByte,
            evaluation.NullShare,
            yardsticks,
            Encoding.UTF8.GetString(sample),
            Interrupted: false,
            tokensPerSecond);
    }
}
