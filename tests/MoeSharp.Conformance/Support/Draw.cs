using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>Made-up data: a pure function of a name, so that a case is the same in every run and on every machine.</summary>
public static class Draw
{
    /// <summary>Normal values, rounded to binary32 so that every backend starts from the same numbers.</summary>
    public static double[] Normals(string name, long count, double scale = 1)
    {
        CounterRandom random = Stream(name);
        var values = new double[count];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (float)(scale * random.Normal((ulong)i));
        }

        return values;
    }

    /// <summary>Multiples of 1/64 in about -4..4: sums and comparisons are exact in binary32, and ties occur.</summary>
    public static double[] Grid(string name, long count, double scale = 1) =>
        Array.ConvertAll(Normals(name, count, scale), x => Math.Round(x * 64) / 64);

    /// <summary>Whole numbers in 0..bound-1.</summary>
    public static int[] Integers(string name, long count, int bound)
    {
        CounterRandom random = Stream(name);
        var values = new int[count];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (int)random.Below((ulong)i, bound);
        }

        return values;
    }

    /// <summary>The random stream of a name (FNV-1a).</summary>
    public static CounterRandom Stream(string name)
    {
        ulong hash = 14695981039346656037;
        foreach (char letter in name)
        {
            hash = (hash ^ letter) * 1099511628211;
        }

        return new CounterRandom(20260115, hash);
    }
}
