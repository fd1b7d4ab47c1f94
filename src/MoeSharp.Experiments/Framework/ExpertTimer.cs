using System.Diagnostics;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>The layer that is timed for an arm.</summary>
/// <param name="Hidden">Width d.</param>
/// <param name="ExpertWidth">Width n of an expert.</param>
/// <param name="Experts">Experts E.</param>
/// <param name="Slots">Slots K per token: all of them real is what the arm's time is compared with.</param>
internal sealed record TimedShape(int Hidden, int ExpertWidth, int Experts, int Slots)
{
    /// <summary>Tokens of a timed batch.</summary>
    public const int Tokens = 4096;

    /// <summary>Forward FLOPs of some rows.</summary>
    public double Flops(double rows) => 6.0 * rows * Hidden * ExpertWidth;
}

/// <summary>Time of the expert part (both expert products and the combine, forward) at the routing that an arm learnt.</summary>
/// <param name="Arm">The arm.</param>
/// <param name="Shape">The layer.</param>
/// <param name="ExpertRows">Rows per expert and token of the routing, one number per expert.</param>
internal sealed record ArmTiming(Arm Arm, TimedShape Shape, IReadOnlyList<double> ExpertRows)
{
    /// <summary>Rows at the learnt routing.</summary>
    public double Rows { get; init; }

    /// <summary>Microseconds of the fastest round at the learnt routing.</summary>
    public double Microseconds { get; init; }

    /// <summary>Microseconds of the fastest round with every slot real, rows spread evenly.</summary>
    public double FullMicroseconds { get; init; }

    /// <summary>Counted FLOPs over those with every slot real.</summary>
    public double FlopRatio => Rows / ((double)TimedShape.Tokens * Shape.Slots);

    /// <summary>Time over that with every slot real.</summary>
    public double TimeRatio => Microseconds / FullMicroseconds;

    /// <summary>1 when all the counted saving is realised; above, some is lost.</summary>
    public double Realised => TimeRatio / FlopRatio;

    /// <summary>Whether kept times are of this routing.</summary>
    public bool IsIn(CellResult kept) => kept.Series.TryGetValue(Arm.Name, out IReadOnlyList<double>? rows) && rows.SequenceEqual(ExpertRows);

    /// <summary>With kept times.</summary>
    public ArmTiming From(CellResult kept) => this with
    {
        Rows = kept[Arm.Name + ".rows"], Microseconds = kept[Arm.Name + ".us"], FullMicroseconds = kept[Arm.Name + ".full_us"],
    };
}

/// <summary>Measures expert parts one after the other, in turns, while nothing else runs.</summary>
/// <remarks>
/// A trained arm is represented by its rows per expert, scaled to <see cref="TimedShape.Tokens"/> tokens: how long the products take depends on how many rows each
/// expert has, not on which tokens they come from. All layers of all arms take turns in every round, so that a machine that slows down slows all of them down,
/// and the fastest round counts: whatever else a machine does can only add to a time.
/// </remarks>
internal static class ExpertTimer
{
    private const int Rounds = 31;

    /// <summary>Measures; the numbers are NAME.rows, NAME.us and NAME.full_us, the series NAME are the rows they belong to.</summary>
    public static CellResult Measure(Backend backend, IReadOnlyList<ArmTiming> arms, CancellationToken stop)
    {
        var result = new CellResult();
        var layers = new List<(string Name, Layer Layer, double[] Times)>();
        try
        {
            foreach (ArmTiming arm in arms)
            {
                TimedShape shape = arm.Shape;
                int most = TimedShape.Tokens * shape.Slots;
                double[] even = new double[shape.Experts];
                Array.Fill(even, (double)most / shape.Experts);
                double[] rows = [.. arm.ExpertRows.Select(share => share * TimedShape.Tokens)];
                layers.Add((arm.Arm.Name + ".us", new Layer(backend, shape, rows), new double[Rounds]));
                layers.Add((arm.Arm.Name + ".full_us", new Layer(backend, shape, even), new double[Rounds]));
                result.Series[arm.Arm.Name] = arm.ExpertRows;
                result[arm.Arm.Name + ".rows"] = layers[^2].Layer.Rows;
            }

            // The first round warms caches and the just-in-time compiler and does not count.
            for (int round = -1; round < Rounds; round++)
            {
                foreach ((_, Layer layer, double[] times) in layers)
                {
                    stop.ThrowIfCancellationRequested();
                    long start = Stopwatch.GetTimestamp();
                    layer.Run();
                    times[Math.Max(round, 0)] = Stopwatch.GetElapsedTime(start).TotalMicroseconds;
                }
            }

            foreach ((string name, _, double[] times) in layers)
            {
                result[name] = Math.Round(times.Min(), 1);
            }
        }
        finally
        {
            foreach ((_, Layer layer, _) in layers)
            {
                layer.Dispose();
            }
        }

        return result;
    }

    /// <summary>Buffers of one layer with a fixed routing.</summary>
    private sealed class Layer : IDisposable
    {
        private readonly Backend _backend;
        private readonly List<Tensor> _owned = [];
        private readonly RouterSpec _spec;
        private readonly RoutingPlan _plan;
        private readonly Tensor _x, _w1, _w2, _z, _a, _y, _ids, _weights, _output;

        public Layer(Backend backend, TimedShape shape, IReadOnlyList<double> expertRows)
        {
            _backend = backend;
            (long t, long d, long n, long e, long k) = (TimedShape.Tokens, shape.Hidden, shape.ExpertWidth, shape.Experts, shape.Slots);
            int[] ids = Ids(shape, expertRows);
            Rows = ids.Count(id => id >= 0);
            _spec = new RouterSpec { Experts = shape.Experts, TopK = shape.Slots, Nulls = [new(NullKind.Zero, shape.Slots)] };
            _x = Random(1, t, d);
            _w1 = Random(2, e, 2 * n, d);
            _w2 = Random(3, e, d, n);
            _z = Own(backend.Empty(t * k, 2 * n));
            _a = Own(backend.Empty(t * k, n));
            _y = Own(backend.Empty(t * k, d));
            _output = Own(backend.Empty(t, d));
            _ids = Own(backend.From<int>(ids, t, k));
            _weights = Own(backend.EmptyWide(t, k));
            backend.Fill(_weights, 1.0 / k);
            _plan = RoutingPlan.Create(backend, TimedShape.Tokens, _spec);
            _owned.AddRange([_plan.Offsets, _plan.RowToken, _plan.RowWeight, _plan.SlotRow]);
            backend.Dispatch(_ids, _weights, null, _plan);
        }

        public int Rows { get; }

        public void Run()
        {
            _backend.ExpertUp(_x, _w1, _plan, _z, _a);
            _backend.ExpertDown(_a, _w2, _plan, _y);
            _backend.Combine(_y, _x, _ids, _weights, _plan, _spec, _output);
            _backend.Synchronize();
        }

        public void Dispose() => _owned.ForEach(tensor => tensor.Dispose());

        // Expert after expert is dealt to the tokens in turn, so that no token gets one twice (an expert has at most as many rows as there are tokens).
        private static int[] Ids(TimedShape shape, IReadOnlyList<double> expertRows)
        {
            var ids = new int[TimedShape.Tokens * shape.Slots];
            Array.Fill(ids, -1);
            int next = 0;
            for (int expert = 0; expert < shape.Experts; expert++)
            {
                int rows = (int)Math.Min(Math.Round(expertRows[expert]), TimedShape.Tokens);
                for (int row = 0; row < rows && next < ids.Length; row++, next++)
                {
                    ids[(next % TimedShape.Tokens * shape.Slots) + (next / TimedShape.Tokens)] = expert;
                }
            }

            return ids;
        }

        private Tensor Random(ulong stream, params ReadOnlySpan<long> shape)
        {
            Tensor tensor = Own(_backend.Empty(shape));
            var random = new CounterRandom(1, stream);
            double[] values = new double[tensor.ElementCount];
            for (int i = 0; i < values.Length; i++)
            {
                values[i] = random.Uniform((ulong)i) - 0.5;
            }

            tensor.FromDoubles(values);
            return tensor;
        }

        private Tensor Own(Tensor tensor)
        {
            _owned.Add(tensor);
            return tensor;
        }
    }
}
