using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Interpolated byte n-gram models of every order up to a largest one, with Witten-Bell smoothing.</summary>
/// <remarks>
/// A yardstick has to be honest: a proper probability distribution, no parameter fitted on what it is measured on. The choice: Witten
/// and Bell, "The zero-frequency problem" (IEEE Trans. Inf. Theory 37, 1991), method C, interpolated: with n(h) occurrences of a context h and t(h)
/// different bytes seen after it, P(b | h) = (n(hb) + t(h) P(b | h')) / (n(h) + t(h)), h' one byte shorter, down to the uniform
/// distribution over 256 bytes. An unseen context leaves P(b | h'). Each level is a mixture of two distributions, so all sum to one.
/// Order n means a context of n bytes. Memory grows with the number of different (n+1)-grams, about 50 bytes each.
/// </remarks>
public sealed class NgramModel
{
    /// <summary>The largest order a key holds.</summary>
    public const int LargestOrder = 6;

    private readonly CountTable[] _grams;

    // Low half: occurrences of the context; high half: different bytes seen after it.
    private readonly CountTable[] _contexts;

    /// <summary>Counts a text.</summary>
    /// <param name="train">The text.</param>
    /// <param name="maximumOrder">Longest context in bytes, 0..6.</param>
    public NgramModel(ReadOnlySpan<byte> train, int maximumOrder)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(maximumOrder);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(maximumOrder, LargestOrder);
        MaximumOrder = maximumOrder;
        _grams = new CountTable[maximumOrder + 1];
        _contexts = new CountTable[maximumOrder + 1];
        for (int order = 0; order <= maximumOrder; order++)
        {
            _grams[order] = new CountTable();
            _contexts[order] = new CountTable();
            CountOrder(train, order);
        }
    }

    /// <summary>Longest context in bytes.</summary>
    public int MaximumOrder { get; }

    /// <summary>Probability of a byte after a context, by the model of an order.</summary>
    /// <param name="context">The bytes before; the last <paramref name="order"/> count, or all when there are fewer.</param>
    /// <param name="next">The byte.</param>
    /// <param name="order">Which model, 0..<see cref="MaximumOrder"/>.</param>
    public double Probability(ReadOnlySpan<byte> context, byte next, int order)
    {
        Guard.That(order >= 0 && order <= MaximumOrder, $"The order is 0..{MaximumOrder}, got {order}.");
        double probability = 1.0 / 256;
        ulong key = 0;
        int depth = Math.Min(order, context.Length);
        for (int level = 0; level <= depth; level++)
        {
            if (level > 0)
            {
                key |= (ulong)context[^level] << (8 * (level - 1));
            }

            probability = Interpolate(level, key, next, probability, out bool seen);
            if (!seen)
            {
                // A longer context cannot have been seen either.
                break;
            }
        }

        return probability;
    }

    /// <summary>Mean code length of a text under the model of each order 0..<see cref="MaximumOrder"/>.</summary>
    /// <returns>Bits per byte; entry n belongs to order n. NaN for an empty text.</returns>
    public double[] BitsPerByte(ReadOnlySpan<byte> text)
    {
        var bits = new double[MaximumOrder + 1];
        for (int i = 0; i < text.Length; i++)
        {
            double probability = 1.0 / 256;
            ulong key = 0;
            bool seen = true;
            for (int level = 0; level <= MaximumOrder; level++)
            {
                seen &= level <= i;
                if (seen)
                {
                    key |= level == 0 ? 0 : (ulong)text[i - level] << (8 * (level - 1));
                    probability = Interpolate(level, key, text[i], probability, out seen);
                }

                bits[level] -= Math.Log2(probability);
            }
        }

        double length = text.Length;
        return Array.ConvertAll(bits, total => total / length);
    }

    private double Interpolate(int level, ulong context, byte next, double lower, out bool seen)
    {
        long statistics = _contexts[level].Get(context);
        seen = statistics != 0;
        if (!seen)
        {
            return lower;
        }

        double occurrences = (uint)statistics, kinds = statistics >> 32;
        return (_grams[level].Get((context << 8) | next) + (kinds * lower)) / (occurrences + kinds);
    }

    private void CountOrder(ReadOnlySpan<byte> train, int order)
    {
        ulong mask = order == 0 ? 0 : ulong.MaxValue >> (64 - (8 * order));
        ulong context = 0;
        for (int i = 0; i < train.Length; i++)
        {
            if (i >= order)
            {
                ref long gram = ref _grams[order].Slot((context << 8) | train[i]);
                bool fresh = gram++ == 0;
                _contexts[order].Slot(context) += 1 + (fresh ? 1L << 32 : 0);
            }

            context = ((context << 8) | train[i]) & mask;
        }
    }
}
