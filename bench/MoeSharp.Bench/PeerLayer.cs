using MoeSharp.Core;

namespace MoeSharp.Bench;

/// <summary>One MoE layer with the inputs of bench/peers/cpu/moe_torch.py: dispatch, experts and combine, and their gradients.</summary>
/// <remarks>Inputs are a function of an index and a seed (<see cref="Mix"/>), so both sides make the same ones and no file has to carry them.</remarks>
internal sealed class PeerLayer : IDisposable
{
    private const int Block = 1 << 20;
    private readonly Backend _backend;
    private readonly List<Tensor> _owned = [];
    private readonly RouterSpec _spec;
    private readonly RoutingPlan _plan;
    private readonly Tensor _x, _w1, _w2, _dOut, _ids, _weights;
    private readonly Tensor _z, _a, _y, _output;
    private readonly Tensor _dZ, _weightedA, _dRowWeight, _dXRows, _dX, _dWeights, _dW1, _dW2;

    /// <summary>Allocates and fills everything.</summary>
    public PeerLayer(Backend backend, int tokens, int hidden, int width, int experts, int topK, double rho, bool backward)
    {
        _backend = backend;
        _spec = new RouterSpec { Experts = experts, TopK = topK, Nulls = [new(NullKind.Zero, experts)] };
        long capacity = (long)tokens * topK, d = hidden, n = width, e = experts;
        _x = Uniform(1, 1, tokens, d);
        _w1 = Uniform(2, 4 / Math.Sqrt(d), e, 2 * n, d);
        _w2 = Uniform(3, 4 / Math.Sqrt(n), e, d, n);
        int[] ids = Route(tokens, experts, topK, rho);
        Rows = ids.Count(id => id < experts);
        Experts = ids.Where(id => id < experts).Distinct().Count();
        _ids = Own(backend.From<int>(ids, tokens, topK));
        _weights = Own(backend.WideFromDoubles([.. Enumerable.Range(0, (int)capacity).Select(i => Number(7, i) + 1)], tokens, topK));
        _plan = new RoutingPlan(tokens, topK, experts, Integers(e + 1), Integers(capacity), Wide(capacity), Integers(tokens, topK));
        _z = Float(capacity, 2 * n);
        _a = Float(capacity, n);
        _y = Float(capacity, d);
        _output = Float(tokens, d);

        // Forward alone needs none of the rest.
        (long t, long r, long w) = backward ? (tokens, capacity, e) : (0, 0, 0);
        _dOut = Uniform(4, 1, t, d);
        _dZ = Float(r, 2 * n);
        _weightedA = Float(r, n);
        _dRowWeight = Wide(r);
        _dXRows = Float(r, d);
        _dX = Float(t, d);
        _dWeights = Wide(t, topK);
        _dW1 = Wide(w, 2 * n, d);
        _dW2 = Wide(w, d, n);
        backend.Fill(_dW1, 0);
        backend.Fill(_dW2, 0);
    }

    /// <summary>Real rows.</summary>
    public int Rows { get; }

    /// <summary>Experts that have rows.</summary>
    public int Experts { get; }

    /// <summary>32 well-mixed bits of an index.</summary>
    public static uint Mix(long index, uint seed)
    {
        uint x = unchecked(((uint)index * 0x9E3779B1u) + (seed * 0x85EBCA6Bu));
        x ^= x >> 15;
        x *= 0x2C1B3C6Du;
        x ^= x >> 12;
        x *= 0x297A2D39u;
        return x ^ (x >> 15);
    }

    /// <summary>One call: dispatch, experts, combine; with all gradients when asked.</summary>
    public void Run(bool backward)
    {
        _backend.Dispatch(_ids, _weights, null, _plan);
        _backend.ExpertUp(_x, _w1, _plan, _z, _a);
        _backend.ExpertDown(_a, _w2, _plan, _y);
        _backend.Combine(_y, _x, _ids, _weights, _plan, _spec, _output);
        if (!backward)
        {
            return;
        }

        _backend.ExpertDownBackward(_dOut, _z, _w2, _plan, _dZ, _weightedA, _dRowWeight);
        _backend.ExpertDownWeightGrad(_dOut, _weightedA, _plan, _dW2);
        _backend.ExpertUpBackward(_dZ, _w1, _plan, _dXRows);
        _backend.ExpertUpWeightGrad(_dZ, _x, _plan, _dW1);
        _backend.CombineBackward(_dXRows, _dRowWeight, _dOut, _x, _ids, _weights, _plan, _spec, _dX, _dWeights);
    }

    /// <summary>Root mean square and some numbers of every result of one call.</summary>
    public Dictionary<string, double[]> Sample(bool backward)
    {
        _backend.Fill(_dW1, 0);
        _backend.Fill(_dW2, 0);
        Run(backward);
        var found = new Dictionary<string, double[]> { ["out"] = Sample(_output) };
        if (backward)
        {
            found["dX"] = Sample(_dX);
            found["dWeights"] = Sample(_dWeights);
            found["dW1"] = Sample(_dW1);
            found["dW2"] = Sample(_dW2);
        }

        return found;
    }

    /// <inheritdoc/>
    public void Dispose() => _owned.ForEach(tensor => tensor.Dispose());

    private static double Number(uint seed, long index) => (float)(Mix(index, seed) >> 8) / (1 << 24) - 0.5f;

    private static int[] Route(int tokens, int experts, int topK, double rho)
    {
        var ids = new int[tokens * topK];
        for (int t = 0; t < tokens; t++)
        {
            int[] order = [.. Enumerable.Range(0, experts).OrderBy(e => Mix(((long)t * experts) + e, 5)).Take(topK)];
            for (int k = 0; k < topK; k++)
            {
                int slot = (t * topK) + k;
                bool real = (Mix(slot, 6) >> 8) / (double)(1 << 24) < rho;
                ids[slot] = real ? order[k] : experts;
            }
        }

        return ids;
    }

    private static double[] Sample(Tensor tensor)
    {
        double[] values = tensor.ToDoubles();
        return
        [
            Math.Sqrt(values.Sum(value => value * value) / Math.Max(1, values.Length)),
            .. Enumerable.Range(0, 256).Select(i => values[Mix(i, 8) % values.Length]),
        ];
    }

    private Tensor Uniform(uint seed, double scale, params ReadOnlySpan<long> shape)
    {
        Tensor tensor = Float(shape);
        double[] block = new double[Math.Min(Block, tensor.ElementCount)];
        for (long first = 0; first < tensor.ElementCount; first += Block)
        {
            int count = (int)Math.Min(Block, tensor.ElementCount - first);
            for (int i = 0; i < count; i++)
            {
                block[i] = (float)Number(seed, first + i) * (float)scale;
            }

            using Tensor part = tensor.View(new Shape(count), first);
            part.FromDoubles(block.AsSpan(0, count));
        }

        return tensor;
    }

    private Tensor Float(params ReadOnlySpan<long> shape) => Own(_backend.Empty(shape));

    private Tensor Wide(params ReadOnlySpan<long> shape) => Own(_backend.EmptyWide(shape));

    private Tensor Integers(params ReadOnlySpan<long> shape) => Own(_backend.Empty(new Shape(shape), DType.Int32));

    private Tensor Own(Tensor tensor)
    {
        _owned.Add(tensor);
        return tensor;
    }
}
