using MoeSharp.Core;

namespace MoeSharp.Bench;

/// <summary>Weights of a layer as bench/peers/cpu/moe_torch.py makes them: numbers that are a function of an index and a seed (<see cref="Mix"/>).</summary>
/// <remarks>So all sides make the same ones and no file has to carry them.</remarks>
internal sealed class PeerWeights : IDisposable
{
    private const int Block = 1 << 20;

    /// <summary>Allocates and fills.</summary>
    public PeerWeights(Backend backend, int experts, int hidden, int width)
    {
        W1 = Uniform(backend, 2, 4 / Math.Sqrt(hidden), experts, 2L * width, hidden);
        W2 = Uniform(backend, 3, 4 / Math.Sqrt(width), experts, hidden, width);
    }

    /// <summary>[E, 2n, d]: gate rows, then up rows.</summary>
    public Tensor W1 { get; }

    /// <summary>[E, d, n].</summary>
    public Tensor W2 { get; }

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

    /// <summary>A number in [-0.5, 0.5).</summary>
    public static double Number(uint seed, long index) => (float)(Mix(index, seed) >> 8) / (1 << 24) - 0.5f;

    /// <summary>Such numbers times a scale.</summary>
    public static Tensor Uniform(Backend backend, uint seed, double scale, params ReadOnlySpan<long> shape)
    {
        Tensor tensor = backend.Empty(shape);
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

    /// <summary>Whether they are those of a layer.</summary>
    public bool Fit(DType type, int experts, int hidden, int width) => W2.DType == type && W2.Shape == new Shape(experts, hidden, width);

    /// <inheritdoc/>
    public void Dispose()
    {
        W1.Dispose();
        W2.Dispose();
    }
}
