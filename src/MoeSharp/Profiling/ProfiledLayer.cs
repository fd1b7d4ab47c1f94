using MoeSharp.Core;

namespace MoeSharp.Profiling;

/// <summary>One MoE layer's tensors on any backend, with a routing that is given or drawn at random.</summary>
/// <remarks>All buffers exist before the first measurement: what is timed allocates nothing. Weights and activations are random: a device that multiplies zeros draws less power and clocks higher than it would in training.</remarks>
public sealed class ProfiledLayer : IDisposable
{
    private const int BlockElements = 1 << 20;
    private readonly List<Tensor> _owned = [];
    private readonly Backend _backend;
    private readonly double[] _block = new double[BlockElements];
    private readonly double _realTokens;
    private readonly double _activeExperts;

    /// <summary>Allocates and fills everything, and dispatches once.</summary>
    /// <param name="backend">Computes; borrowed.</param>
    /// <param name="shape">The layer.</param>
    /// <param name="ids">Expert ids [T, K], negative for a slot without a row; drawn as the shape says when null.</param>
    /// <exception cref="ArgumentException">The shape is not valid, or there are not T * K ids.</exception>
    /// <exception cref="OutOfMemoryException">The device is too small for the layer.</exception>
    public ProfiledLayer(Backend backend, ProfileShape shape, int[]? ids = null)
    {
        ArgumentNullException.ThrowIfNull(backend);
        Shape = shape.Validate();
        ids ??= RoutingDraw.Ids(shape);
        Guard.That(ids.Length == (long)shape.Tokens * shape.TopK, $"A routing of {shape.Tokens} tokens with {shape.TopK} slots has that many ids, got {ids.Length}.");
        _backend = backend;
        var random = new CounterRandom(1, 0);
        for (int i = 0; i < _block.Length; i++)
        {
            _block[i] = random.Uniform((ulong)i) - 0.5;
        }

        (long t, long d, long n, long e, long k) = (shape.Tokens, shape.Hidden, shape.ExpertWidth, shape.Experts, shape.TopK);
        long capacity = t * k;
        Spec = RouterSpec.WithNulls(shape.Experts, shape.TopK, shape.Rho);
        X = Random(t, d);
        DOut = Random(t, d);
        W1 = Random(e, 2 * n, d);
        W2 = Random(e, d, n);
        Logits = Random(t, Spec.Columns);
        DLogits = Own(backend.Empty(t, Spec.Columns));
        Gate = new GateResult(
            Integers(t, k), Wide(t, k), Integers(Spec.Columns), Integers(RoutingPlan.Chunks(t), e), Wide(Spec.Columns), Wide(1), Wide(1));
        One = Wide(1);
        Ids = Integers(t, k);
        Weights = Wide(t, k);
        Plan = new RoutingPlan(shape.Tokens, shape.TopK, shape.Experts, Integers(e + 1), Integers(capacity), Wide(capacity), Integers(t, k));
        Z = Own(backend.Empty(capacity, 2 * n));
        A = Own(backend.Empty(capacity, n));
        Y = Own(backend.Empty(capacity, d));
        Output = Own(backend.Empty(t, d));
        DZ = Own(backend.Empty(capacity, 2 * n));
        WeightedA = Own(backend.Empty(capacity, n));
        DRowWeight = Wide(capacity);
        DXRows = Own(backend.Empty(capacity, d));
        DX = Own(backend.Empty(t, d));
        DWeights = Wide(t, k);
        DW1 = Wide(e, 2 * n, d);
        DW2 = Wide(e, d, n);
        Ids.CopyFrom<int>(ids);
        Rows = ids.Count(id => id >= 0);
        _realTokens = ids.Chunk(shape.TopK).Count(slots => slots.Any(id => id >= 0));
        _activeExperts = ids.Where(id => id >= 0).Distinct().Count();
        backend.Fill(Weights, 1.0 / shape.TopK);
        backend.Fill(DWeights, 0.1);
        backend.Fill(One, 1);
        backend.Fill(DW1, 0);
        backend.Fill(DW2, 0);
        Dispatch();
        backend.Synchronize();
    }

    /// <summary>The layer.</summary>
    public ProfileShape Shape { get; }

    /// <summary>Real rows R of the routing.</summary>
    public long Rows { get; }

    /// <summary>The routing rules of the gate stages.</summary>
    public RouterSpec Spec { get; }

    private Tensor X { get; }

    private Tensor DOut { get; }

    private Tensor W1 { get; }

    private Tensor W2 { get; }

    private Tensor Logits { get; }

    private Tensor DLogits { get; }

    private GateResult Gate { get; }

    private Tensor One { get; }

    private Tensor Ids { get; }

    private Tensor Weights { get; }

    private RoutingPlan Plan { get; }

    private Tensor Z { get; }

    private Tensor A { get; }

    private Tensor Y { get; }

    private Tensor Output { get; }

    private Tensor DZ { get; }

    private Tensor WeightedA { get; }

    private Tensor DRowWeight { get; }

    private Tensor DXRows { get; }

    private Tensor DX { get; }

    private Tensor DWeights { get; }

    private Tensor DW1 { get; }

    private Tensor DW2 { get; }

    /// <summary>Every op of the layer in execution order: five forward, then the backward ones.</summary>
    /// <remarks>
    /// Model FLOPs are those of real rows (forward 6 R d n, backward 12 R d n); bytes count each operand once: U tokens with a real slot, the
    /// weights of the experts that have rows, and weight gradients read and written in the wide type.
    /// </remarks>
    public IReadOnlyList<ProfileStage> Stages()
    {
        var work = new LayerWork(
            Shape.Tokens, Shape.Hidden, Shape.ExpertWidth, Shape.TopK, Spec.Columns, Rows, _realTokens, _activeExperts, _backend.FloatType.Size(), _backend.WideType.Size());
        return
        [
            Stage("Gate", work.Gate, GateForward),
            Stage("Dispatch", work.Dispatch, Dispatch),
            Stage("ExpertUp", work.ExpertUp, () => _backend.ExpertUp(X, W1, Plan, Z, A)),
            Stage("ExpertDown", work.ExpertDown, () => _backend.ExpertDown(A, W2, Plan, Y)),
            Stage("Combine", work.Combine, Combine),
            Stage("ExpertDownBackward", work.ExpertDownBackward, () => _backend.ExpertDownBackward(DOut, Z, W2, Plan, DZ, WeightedA, DRowWeight)),
            Stage("ExpertUpBackward", work.ExpertUpBackward, () => _backend.ExpertUpBackward(DZ, W1, Plan, DXRows)),
            Stage("CombineBackward", work.CombineBackward, CombineBackward),
            Stage("GateBackward", work.GateBackward, GateBackward),
            Stage("ExpertDownWeightGrad", work.ExpertDownWeightGrad, () => _backend.ExpertDownWeightGrad(DOut, WeightedA, Plan, DW2)),
            Stage("ExpertUpWeightGrad", work.ExpertUpWeightGrad, () => _backend.ExpertUpWeightGrad(DZ, X, Plan, DW1)),
        ];

        static ProfileStage Stage(string name, OpWork work, Action run) => new(name, work.Flops, work.Bytes, run);
    }

    /// <summary>Gate of random logits (its ids are not those that are dispatched).</summary>
    public void GateForward() => _backend.Gate(Logits, null, Spec, Gate);

    /// <summary>Gradient of the gate.</summary>
    public void GateBackward() => _backend.GateBackward(Logits, Gate.Ids, DWeights, Gate.Loads, One, One, Spec, DLogits);

    /// <summary>Dispatch of the drawn ids.</summary>
    public void Dispatch() => _backend.Dispatch(Ids, Weights, null, Plan);

    /// <summary>Both expert products.</summary>
    public void ExpertsForward()
    {
        _backend.ExpertUp(X, W1, Plan, Z, A);
        _backend.ExpertDown(A, W2, Plan, Y);
    }

    /// <summary>Combine.</summary>
    public void Combine() => _backend.Combine(Y, X, Ids, Weights, Plan, Spec, Output);

    /// <summary>All expert gradients.</summary>
    public void ExpertsBackward()
    {
        _backend.ExpertDownBackward(DOut, Z, W2, Plan, DZ, WeightedA, DRowWeight);
        _backend.ExpertDownWeightGrad(DOut, WeightedA, Plan, DW2);
        _backend.ExpertUpBackward(DZ, W1, Plan, DXRows);
        _backend.ExpertUpWeightGrad(DZ, X, Plan, DW1);
    }

    /// <summary>Gradient of combine.</summary>
    public void CombineBackward() => _backend.CombineBackward(DXRows, DRowWeight, DOut, X, Ids, Weights, Plan, Spec, DX, DWeights);

    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        foreach (Tensor tensor in _owned)
        {
            tensor.Dispose();
        }
    }

    private Tensor Random(params ReadOnlySpan<long> shape)
    {
        Tensor tensor = Own(_backend.Empty(shape));
        for (long at = 0; at < tensor.ElementCount; at += BlockElements)
        {
            int count = (int)Math.Min(BlockElements, tensor.ElementCount - at);
            using Tensor part = tensor.View(new Shape(count), at);
            part.FromDoubles(_block.AsSpan(0, count));
        }

        return tensor;
    }

    private Tensor Wide(params ReadOnlySpan<long> shape) => Own(_backend.EmptyWide(shape));

    private Tensor Integers(params ReadOnlySpan<long> shape) => Own(_backend.Empty(new Shape(shape), DType.Int32));

    private Tensor Own(Tensor tensor)
    {
        _owned.Add(tensor);
        return tensor;
    }
}
