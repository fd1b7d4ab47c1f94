using System.Diagnostics;
using System.Text;
using MoeSharp.Autograd;
using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Profiling;

/// <summary>Measures where an optimizer step of a whole model goes: every op of forward, backward and update, with its distance from the roofline.</summary>
/// <remarks>
/// The problem: a step is a few hundred ops of which some run for microseconds, so a watched step is not the step that users wait for. The choice:
/// two equal models from one seed take turns, one as it is, one on a <see cref="TimedBackend"/>; the first gives the time of a step, the
/// second the times of its ops, and what they leave of the step is shown as well. First come steps that do not count, in which routing finds its share of null slots.
/// </remarks>
public sealed class StepProfiler
{
    private const int LeastText = 1 << 16;
    private readonly Engine _engine;
    private readonly int _samples;

    /// <summary>Makes a profiler.</summary>
    /// <param name="engine">The backend to measure; borrowed.</param>
    /// <param name="samples">Timed steps, at least 1; as many run before them.</param>
    public StepProfiler(Engine engine, int samples = 30)
    {
        ArgumentNullException.ThrowIfNull(engine);
        ArgumentOutOfRangeException.ThrowIfLessThan(samples, 1);
        _engine = engine;
        _samples = samples;
    }

    /// <summary>Measures training steps.</summary>
    /// <param name="options">Model, batch and optimizer; data and run folder are not used, and nothing is written.</param>
    /// <param name="text">What is trained on, at least one window; null for words made up at random.</param>
    /// <param name="stop">Stops between two steps.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    /// <exception cref="OperationCanceledException">Stopped.</exception>
    public StepReport Run(TrainOptions options, byte[]? text = null, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        text ??= Words(Math.Max(LeastText, 2 * (options.Model.ContextLength + 1)), options.Seed);
        Guard.That(text.Length > options.Model.ContextLength, $"A step reads windows of {options.Model.ContextLength + 1} bytes, the text has {text.Length}.");
        Backend backend = _engine.Backend;
        (string device, DeviceRoofline roofline) = DeviceFacts.Of(backend);
        using StageClock clock = DeviceFacts.Clock(backend);
        using var timed = new TimedBackend(backend, clock, roofline);
        using var plain = new TrainedModel(backend, options, text);
        using var watched = new TrainedModel(timed, options, text);
        var steps = new double[_samples];
        var taken = new List<IReadOnlyDictionary<string, OpTally>>();
        for (int i = -_samples; i < _samples; i++)
        {
            stop.ThrowIfCancellationRequested();
            long start = Stopwatch.GetTimestamp();
            plain.Step();
            backend.Synchronize();
            double microseconds = Stopwatch.GetElapsedTime(start).TotalMicroseconds;
            watched.Step();
            IReadOnlyDictionary<string, OpTally> ops = timed.Take();
            if (i >= 0)
            {
                steps[i] = microseconds;
                taken.Add(ops);
            }
        }

        return new StepReport(
            options, device, backend.FloatType, watched.RealShare, _samples, Sample.Of(steps).Median, [.. Ops(taken).OrderByDescending(op => op.Row.Microseconds)]);
    }

    private static IEnumerable<StepOp> Ops(List<IReadOnlyDictionary<string, OpTally>> taken)
    {
        foreach (string name in taken.SelectMany(step => step.Keys).Distinct())
        {
            // Work and calls are means: the routing differs a little from step to step.
            OpTally[] all = [.. taken.Select(step => step.GetValueOrDefault(name))];
            Sample time = Sample.Of([.. all.Select(tally => tally.Microseconds)]);
            yield return new StepOp(
                new ProfileRow(name, time.Median, time.Spread, all.Average(t => t.Flops), all.Average(t => t.Bytes), all.Average(t => t.Ceiling)),
                (int)Math.Round(all.Average(t => (double)t.Calls)));
        }
    }

    /// <summary>Text whose words are as frequent as those of a language: rank r with weight 1 / r.</summary>
    private static byte[] Words(int length, ulong seed)
    {
        const int Vocabulary = 2000;
        var random = new CounterRandom(seed, 0);
        ulong counter = 0;
        string[] words = [.. Enumerable.Range(0, Vocabulary).Select(_ => Word())];
        var text = new StringBuilder(length + 16);
        while (text.Length < length)
        {
            text.Append(words[(int)Math.Pow(Vocabulary, random.Uniform(counter++)) - 1]).Append(' ');
        }

        return Encoding.ASCII.GetBytes(text.ToString(0, length));

        string Word() => string.Concat(Enumerable.Range(0, 2 + (int)random.Below(counter++, 7)).Select(_ => (char)('a' + random.Below(counter++, 26))));
    }

    /// <summary>A model, its optimizer and its place in the text.</summary>
    private sealed class TrainedModel : IDisposable
    {
        private readonly Transformer _model;
        private readonly AdamW _optimizer;
        private readonly OptimizationStep _step;
        private readonly RoutingMeter _meter;
        private long _done;

        public TrainedModel(Backend backend, TrainOptions options, byte[] text)
        {
            _model = new Transformer(backend, options.Model, options.Seed);
            _optimizer = new AdamW(backend, _model.Parameters, new AdamWOptions { WeightDecay = options.WeightDecay, ClipNorm = options.ClipNorm });
            _step = new OptimizationStep(options, _model, _optimizer, text);
            _meter = new RoutingMeter(options);
        }

        /// <summary>Share of real slots in the last step.</summary>
        public double RealShare => 1 - _meter.MeanNullShare();

        public void Step()
        {
            _meter.Clear();
            _step.Run(++_done, _meter);
        }

        public void Dispose()
        {
            _step.Dispose();
            _optimizer.Dispose();
            _model.Dispose();
        }
    }
}
