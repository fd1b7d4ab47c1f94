namespace MoeSharp.Core;

/// <summary>Counter-based random numbers: value i of stream s under a seed is a pure function of (seed, s, i).</summary>
/// <remarks>
/// Philox-4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). No hidden state to save:
/// a checkpoint needs the seed and a counter, and the order in which parameters are made does not matter.
/// </remarks>
public readonly struct CounterRandom(ulong seed, ulong stream)
{
    /// <summary>64 random bits for a counter.</summary>
    public ulong Bits(ulong counter)
    {
        uint c0 = (uint)counter, c1 = (uint)(counter >> 32), c2 = (uint)stream, c3 = (uint)(stream >> 32);
        uint k0 = (uint)seed, k1 = (uint)(seed >> 32);
        for (int round = 0; round < 10; round++)
        {
            ulong p0 = 0xD2511F53UL * c0, p1 = 0xCD9E8D57UL * c2;
            (c0, c1, c2, c3) = ((uint)(p1 >> 32) ^ c1 ^ k0, (uint)p1, (uint)(p0 >> 32) ^ c3 ^ k1, (uint)p0);
            k0 += 0x9E3779B9;
            k1 += 0xBB67AE85;
        }

        return c0 | ((ulong)c1 << 32);
    }

    /// <summary>Uniform in [0, 1) with 53 bits.</summary>
    public double Uniform(ulong counter) => (Bits(counter) >> 11) * (1.0 / (1UL << 53));

    /// <summary>Uniform integer in [0, bound); the bias is below bound / 2^64.</summary>
    public long Below(ulong counter, long bound) => (long)Math.BigMul(Bits(counter), (ulong)bound, out _);

    /// <summary>Standard normal (Box-Muller).</summary>
    public double Normal(ulong counter)
    {
        double u = 1.0 - Uniform(2 * counter), v = Uniform((2 * counter) + 1);
        return Math.Sqrt(-2.0 * Math.Log(u)) * Math.Cos(2.0 * Math.PI * v);
    }
}
