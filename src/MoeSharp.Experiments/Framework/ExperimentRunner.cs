using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.ExceptionServices;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>Runs an experiment: the sweep of every arm on the tuning seeds, every arm at its best weight on fresh seeds, then the times.</summary>
/// <remarks>
/// The problem: a method compared at a balance weight that suits it looks better than it is, and so does one that is evaluated on the seeds that
/// it was tuned on. The choice: every arm gets the same sweep, the weight is chosen by the tuning seeds, and only seeds that nothing was chosen on
/// are reported. Cells run side by side, each on a backend of one thread: results are the same for any number of threads, so which
/// cell runs when does not matter. Times are taken last, when no cell runs.
/// </remarks>
internal sealed class ExperimentRunner
{
    /// <summary>First seed of the sweep.</summary>
    public const ulong FirstTuningSeed = 1;

    /// <summary>First seed of the final evaluation.</summary>
    public const ulong FirstSeed = 101;

    private readonly ExperimentFolder _folder;
    private readonly Func<Backend> _backend;
    private readonly int _lanes;
    private readonly IProgress<ExperimentProgress> _progress;
    private readonly CancellationToken _stop;
    private readonly Stopwatch _clock = Stopwatch.StartNew();
    private readonly Lock _reporting = new();
    private readonly int _total;
    private int _done;
    private int _doneNow;

    /// <summary>Makes a runner.</summary>
    /// <param name="folder">Where cells are.</param>
    /// <param name="backend">Makes a backend of one thread.</param>
    /// <param name="lanes">Cells at a time.</param>
    /// <param name="progress">Told about every cell.</param>
    /// <param name="stop">Stops within a training step; what is finished stays.</param>
    public ExperimentRunner(ExperimentFolder folder, Func<Backend> backend, int lanes, IProgress<ExperimentProgress> progress, CancellationToken stop)
    {
        _folder = folder;
        _backend = backend;
        _lanes = lanes;
        _progress = progress;
        _stop = stop;
        ExperimentConfig config = folder.Config;
        _total = config.Experiment.Studies.Sum(study => study.Arms(config[study])
            .Sum(arm => (Weights(arm).Count > 1 ? Weights(arm).Count * config.TuningSeeds : 0) + config.Seeds));
    }

    /// <summary>Runs what is not there yet.</summary>
    /// <exception cref="OperationCanceledException">Stopped.</exception>
    public IReadOnlyList<StudyResults> Run()
    {
        ExperimentConfig config = _folder.Config;
        IReadOnlyList<Study> studies = config.Experiment.Studies;
        RunCells("tuning", [.. studies.SelectMany(Tuning)]);
        IReadOnlyList<StudyResults> tuned = [.. studies.Select(study => new StudyResults(study, config[study], [.. study.Arms(config[study]).Select(arm => Tuned(study, arm))], []))];
        RunCells("evaluation", [.. tuned.SelectMany(Final)]);
        StudyResults[] results = [.. tuned.Select(study => study with { Arms = [.. study.Arms.Select(arm => arm with { Cells = Cells(study.Study, arm) })] })];
        for (int i = 0; i < results.Length; i++)
        {
            results[i] = results[i] with { Timings = Timings(results[i]) };
        }

        return results;
    }

    private static IReadOnlyList<double> Weights(Arm arm) => [.. arm.Weights.Distinct().Order()];

    private IEnumerable<ulong> TuningSeeds => Enumerable.Range(0, _folder.Config.TuningSeeds).Select(i => FirstTuningSeed + (ulong)i);

    private IEnumerable<ulong> Seeds => Enumerable.Range(0, _folder.Config.Seeds).Select(i => FirstSeed + (ulong)i);

    private IEnumerable<(Study Study, Arm Arm, CellKey Key)> Tuning(Study study) =>
        from arm in study.Arms(_folder.Config[study])
        where Weights(arm).Count > 1
        from weight in Weights(arm)
        from seed in TuningSeeds
        select (study, arm, new CellKey(study.Name, arm.Name, weight, seed));

    private IEnumerable<(Study Study, Arm Arm, CellKey Key)> Final(StudyResults results) =>
        from arm in results.Arms
        from seed in Seeds
        select (results.Study, arm.Arm, new CellKey(results.Study.Name, arm.Arm.Name, arm.Weight, seed));

    private ArmResult Tuned(Study study, Arm arm)
    {
        IReadOnlyList<double> weights = Weights(arm);
        if (weights.Count == 1)
        {
            return new ArmResult(arm, [], weights[0], []);
        }

        SweepPoint[] sweep = [.. weights.Select(weight =>
        {
            CellResult[] cells = [.. TuningSeeds.Select(seed => _folder.Load(new CellKey(study.Name, arm.Name, weight, seed)))];
            Spread experts = Spread.Of([.. cells.Select(cell => cell.Get(Metric.RealExperts))]);
            bool within = arm.Budget is not double budget || experts.Mean <= budget * ArmResult.Tolerance;
            return new SweepPoint(weight, Spread.Of([.. cells.Select(cell => cell[Metric.Loss])]), experts, within);
        })];
        return new ArmResult(arm, sweep, ArmResult.Choose(sweep), []);
    }

    private IReadOnlyList<CellResult> Cells(Study study, ArmResult arm) =>
        [.. Seeds.Select(seed => _folder.Load(new CellKey(study.Name, arm.Arm.Name, arm.Weight, seed)))];

    private void RunCells(string phase, IReadOnlyList<(Study Study, Arm Arm, CellKey Key)> cells)
    {
        var queue = new ConcurrentQueue<(Study Study, Arm Arm, CellKey Key)>(cells.Where(cell => !_folder.Has(cell.Key)));
        _done += cells.Count - queue.Count;
        Report(phase, null, double.NaN);
        var failures = new ConcurrentQueue<Exception>();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(_stop);
        Thread[] threads = [.. Enumerable.Range(0, Math.Min(_lanes, queue.Count)).Select(_ => new Thread(() => Work(phase, queue, stop, failures)))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        if (failures.FirstOrDefault(failure => failure is not OperationCanceledException) is { } failure)
        {
            ExceptionDispatchInfo.Throw(failure);
        }

        _stop.ThrowIfCancellationRequested();
    }

    private void Work(string phase, ConcurrentQueue<(Study Study, Arm Arm, CellKey Key)> queue, CancellationTokenSource stop, ConcurrentQueue<Exception> failures)
    {
        try
        {
            while (!stop.IsCancellationRequested && queue.TryDequeue(out (Study Study, Arm Arm, CellKey Key) next))
            {
                CellResult result = RunCell(next.Study, next.Arm, next.Key, stop.Token);
                _folder.Save(next.Key, result);
                Interlocked.Increment(ref _done);
                Interlocked.Increment(ref _doneNow);
                Report(phase, next.Key, result[Metric.Loss]);
            }
        }
#pragma warning disable CA1031 // Whatever failed is thrown again on the thread that asked for the cells.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            failures.Enqueue(failure);
            stop.Cancel();
        }
    }

    private CellResult RunCell(Study study, Arm arm, CellKey key, CancellationToken stop)
    {
        var clock = Stopwatch.StartNew();
        using Backend backend = _backend();
        try
        {
            CellResult result = study.Run(new CellContext(backend, arm, key.Weight, key.Seed, _folder.Config[study], stop));
            if (!double.IsFinite(result[Metric.Loss]))
            {
                throw new MoeSharpException($"The loss is {result[Metric.Loss]}; lower the learning rate.");
            }

            result[Metric.Seconds] = Math.Round(clock.Elapsed.TotalSeconds, 2);
            return result;
        }
        catch (MoeSharpException error)
        {
            throw new MoeSharpException($"{key}: {error.Message}", error);
        }
    }

    private IReadOnlyList<ArmTiming> Timings(StudyResults results)
    {
        ArmTiming[] wanted = [.. from arm in results.Arms
                                 let shape = results.Study.Timed(arm.Arm, results.Settings)
                                 where shape is not null
                                 select new ArmTiming(arm.Arm, shape, arm.Cells[0].Series[Metric.ExpertRows])];
        if (wanted.Length == 0)
        {
            return [];
        }

        Report("timing", null, double.NaN);
        CellResult? kept = _folder.LoadTimings(results.Study);
        if (kept is null || wanted.Any(timing => !timing.IsIn(kept)))
        {
            using Backend backend = _backend();
            kept = ExpertTimer.Measure(backend, wanted, _stop);
            _folder.SaveTimings(results.Study, kept);
        }

        return [.. wanted.Select(timing => timing.From(kept))];
    }

    private void Report(string phase, CellKey? last, double loss)
    {
        lock (_reporting)
        {
            TimeSpan elapsed = _clock.Elapsed;
            TimeSpan? left = _doneNow == 0 ? null : elapsed / _doneNow * (_total - _done);
            _progress.Report(new ExperimentProgress(_done, _total, phase, last, loss, elapsed, left));
        }
    }
}
