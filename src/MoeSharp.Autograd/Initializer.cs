using System.Text;
using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Makes the initial weights of named tensors.</summary>
/// <remarks>
/// Value i of a tensor is a pure function of (seed, name, i) through <see cref="CounterRandom"/> with the FNV-1a hash of the name as
/// stream: neither the order in which layers are made nor the number of threads matters, and every backend gets the same doubles,
/// rounded to its float type. Tensors are made outside of any <see cref="TensorScope"/>: they belong to the parameter they become.
/// </remarks>
/// <param name="backend">Where tensors are made.</param>
/// <param name="seed">The model's seed.</param>
public sealed class Initializer(Backend backend, ulong seed)
{
    private const int BlockSize = 1 << 18;
    private const int StripeSize = 1 << 12;

    /// <summary>The model's seed.</summary>
    public ulong Seed { get; } = seed;

    /// <summary>Where tensors are made.</summary>
    public Backend Backend { get; } = backend;

    /// <summary>Standard deviation that layers use for weights unless they are told another one.</summary>
    public double StandardDeviation { get; init; } = 0.02;

    /// <summary>The 64-bit FNV-1a hash of a name's UTF-8 bytes: the random stream of a tensor.</summary>
    public static ulong StreamOf(string name)
    {
        ulong hash = 14695981039346656037UL;
        foreach (byte value in Encoding.UTF8.GetBytes(name))
        {
            hash = unchecked((hash ^ value) * 1099511628211UL);
        }

        return hash;
    }

    /// <summary>Normal values with mean 0.</summary>
    /// <param name="name">Full name of the tensor; equal names give equal values.</param>
    /// <param name="std">Standard deviation.</param>
    /// <param name="shape">Shape; the dtype is the backend's float type.</param>
    public Tensor Normal(string name, double std, params ReadOnlySpan<long> shape)
    {
        Tensor tensor = Make(shape);
        var random = new CounterRandom(Seed, StreamOf(name));
        double[] block = new double[(int)Math.Min(BlockSize, Math.Max(tensor.ElementCount, 1))];
        for (long start = 0; start < tensor.ElementCount; start += block.Length)
        {
            long offset = start;
            int count = (int)Math.Min(block.Length, tensor.ElementCount - start);
            Parallel.For(0, (count + StripeSize - 1) / StripeSize, stripe =>
            {
                int end = Math.Min(count, (stripe + 1) * StripeSize);
                for (int i = stripe * StripeSize; i < end; i++)
                {
                    block[i] = std * random.Normal((ulong)(offset + i));
                }
            });
            Write(block.AsSpan(0, count), tensor, start);
        }

        return tensor;
    }

    /// <summary>One value everywhere.</summary>
    public Tensor Constant(double value, params ReadOnlySpan<long> shape)
    {
        Tensor tensor = Make(shape);
        Backend.Fill(tensor, value);
        return tensor;
    }

    /// <summary>One value everywhere, in the backend's wide type.</summary>
    public Tensor WideConstant(double value, params ReadOnlySpan<long> shape)
    {
        using (TensorScope.Suspend())
        {
            Tensor tensor = Backend.EmptyWide(shape);
            Backend.Fill(tensor, value);
            return tensor;
        }
    }

    private static void Write(ReadOnlySpan<double> values, Tensor tensor, long offset)
    {
        if (tensor.DType == DType.Float64)
        {
            tensor.CopyFrom(values, offset);
            return;
        }

        float[] rounded = new float[values.Length];
        for (int i = 0; i < rounded.Length; i++)
        {
            rounded[i] = (float)values[i];
        }

        if (tensor.DType == DType.Float32)
        {
            tensor.CopyFrom<float>(rounded, offset);
        }
        else
        {
            tensor.CopyFrom<BFloat16>(Array.ConvertAll(rounded, value => (BFloat16)value), offset);
        }
    }

    private Tensor Make(ReadOnlySpan<long> shape)
    {
        using (TensorScope.Suspend())
        {
            return Backend.Empty(shape);
        }
    }
}
