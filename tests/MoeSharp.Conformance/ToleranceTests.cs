using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>The rounding that bfloat16 results are judged by.</summary>
public sealed class ToleranceTests
{
    [Fact]
    public void RoundingInOneStep_IsTheEnginesRounding_OfEveryBinary32()
    {
        CounterRandom random = Draw.Stream("bfloat16");
        for (ulong i = 0; i < 100_000; i++)
        {
            float value = BitConverter.UInt32BitsToSingle((uint)random.Below(i, 1 << 30) * 4 + (uint)(i % 4));
            Assert.Equal((float)(BFloat16)value, Tolerance.ToBFloat16(value));
            Assert.Equal((float)(BFloat16)(-value), Tolerance.ToBFloat16(-value));
        }
    }

    [Fact]
    public void RoundingInOneStep_DoesNotRoundTwice()
    {
        // Just above the middle of two neighbours; in binary32 it is the middle, and even means down.
        const double AboveTheMiddle = 1 + (1.0 / 256) + 1e-12;
        Assert.Equal(1, (float)(BFloat16)(float)AboveTheMiddle);
        Assert.Equal(1 + (1.0 / 128), Tolerance.ToBFloat16(AboveTheMiddle));
    }

    [Theory]
    [InlineData(1.002, 1, 0, true)]
    [InlineData(1.002, 1.0078125, 0, false)]
    [InlineData(1.0038, 1.0078125, 0.0002, true)]
    [InlineData(1.0038, 1.0078125, 0.00001, false)]
    [InlineData(1.0038, 1.015625, 0.0002, false)]
    [InlineData(double.NaN, double.NaN, 0, true)]
    [InlineData(1, double.NaN, 1e9, false)]
    public void ANarrowResult_MustBeTheRounding_OfSomethingWithinTheBound(double expected, double actual, double bound, bool allowed) =>
        Assert.Equal(allowed, Tolerance.Allows(expected, actual, bound, narrow: true));
}
