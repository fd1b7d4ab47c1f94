using MoeSharp.Core;

namespace MoeSharp.Bench;

/// <summary>One MoE layer with the inputs of bench/peers/cpu/moe_torch.py: dispatch, experts and combine, and their gradients.</summary>
/// <remarks>A worker keeps one at a time; the weights stay from layer to layer.</remarks>
internal sealed class PeerLayer : IDisposable
{
    private const int Samples = 4096, Shown = 256;
    private readonly Backend _backend;
    private readonly List<Tensor> _owned = [];
    private readonly RouterSpec _spec;
    private readonly RoutingPlan _plan;
    private readonly Tensor _x, _w1, _w2, _dOut, _ids, _weights;
    private readonly Tensor _z, _a, _y, _output;
    private readonly Tensor _dZ, _weightedA, _dRowWeight, _dXRows, _dX, _dWeights, _dW1, _dW2;

    /// <summary>Allocates and fills everything; the weights are borrowed.</summary>
    public PeerLayer(Backend backend, PeerWeights peer, int tokens, int topK, double rho, bool backward)
    {
        _backend = backend;
        (_w1, _w2) = (peer.W1, peer.W2);
        (int experts, int hidden, int width) = ((int)_w2.Shape[0], (int)_w2.Shape[1], (int)_w2.Shape[2]);
        _spec = new RouterSpec { Experts = experts, TopK = topK, Nulls = [new(NullKind.Zero, experts)] };
        long capacity = (long)tokens * topK, d = hidden, n = width, e = experts;
        _x = Own(PeerWeights.Uniform(backend, 1, 1, tokens, d));
        int[] ids = Route(tokens, experts, topK, rho);
        Rows = ids.Count(id => id < experts);
        Experts = ids.Where(id => id < experts).Distinct().Count();
        _ids = Own(backend.From<int>(ids, tokens, topK));
        _weights = Own(backend.WideFromDoubles([.. Enumerable.Range(0, (int)capacity).Select(i => PeerWeights.Number(7, i) + 1)], tokens, topK));
        _plan = new RoutingPlan(tokens, topK, experts, Integers(e + 1), Integers(capacity), Wide(capacity), Integers(tokens, topK));
        _z = Float(capacity, 2 * n);
        _a = Float(capacity, n);
        _y = Float(capacity, d);
        _output = Float(tokens, d);

        // Forward alone needs none of the rest.
        (long t, long r, long w) = backward ? (tokens, capacity, e) : (0, 0, 0);
        _dOut = Own(PeerWeights.Uniform(backend, 4, 1, t, d));
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

    /// <summary>Sets the weight gradients, which a call adds to, to zero.</summary>
    public void Clear()
    {
        _backend.Fill(_dW1, 0);
        _backend.Fill(_dW2, 0);
    }

    /// <summary>Of every result of the last call some numbers, the first one their root mean square.</summary>
    public Dictionary<string, double[]> Sample(bool backward)
    {
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

    private static int[] Route(int tokens, int experts, int topK, double rho)
    {
        var ids = new int[tokens * topK];
        for (int t = 0; t < tokens; t++)
        {
            int[] order = [.. Enumerable.Range(0, experts).OrderBy(e => PeerWeights.Mix(((long)t * experts) + e, 5)).Take(topK)];
            for (int k = 0; k < topK; k++)
            {
                int slot = (t * topK) + k;
                bool real = (PeerWeights.Mix(slot, 6) >> 8) / (double)(1 << 24) < rho;
                ids[slot] = real ? order[k] : experts;
            }
        }

        return ids;
    }

    private static double[] Sample(Tensor tensor)
    {
        var values = new double[Samples];
        for (int i = 0; i < Samples; i++)
        {
            using Tensor element = tensor.View(new Shape(1), PeerWeights.Mix(i, 8) % tensor.ElementCount);
            values[i] = element.ToDoubles()[0];
        }

        return [Math.Sqrt(values.Sum(value => value * value) / Samples), .. values.AsSpan(0, Shown)];
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
