using Xunit;

namespace MoeSharp.Conformance;

/// <summary>Equality of bits, which tells zeros and NaNs apart.</summary>
public static class Bits
{
    /// <summary>Equal lengths and bits.</summary>
    public static void Same(double[] expected, double[] actual) =>
        Assert.Equal(expected.Select(BitConverter.DoubleToInt64Bits), actual.Select(BitConverter.DoubleToInt64Bits));

    /// <summary>The same; a failure says which number of what.</summary>
    public static void Same(string what, float[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.True(BitConverter.SingleToInt32Bits(expected[i]) == BitConverter.SingleToInt32Bits(actual[i]), $"{what}: number {i} is {actual[i]:R} instead of {expected[i]:R}");
        }
    }
}
