using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

public sealed class InitializerTests : AutogradTest
{
    [Theory]
    [InlineData("", 0xcbf29ce484222325)]
    [InlineData("a", 0xaf63dc4c8601ec8c)]
    [InlineData("foobar", 0x85944171f73967e8)]
    public void StreamOf_IsFnv1a(string name, ulong expected) => Assert.Equal(expected, Initializer.StreamOf(name));

    [Fact]
    public void Normal_DependsOnSeedNameAndIndexOnly()
    {
        using Tensor a = Init.Normal("a", 2, 3, 5), b = Init.Normal("b", 2, 3, 5), again = Init.Normal("a", 2, 15);
        var random = new CounterRandom(7, Initializer.StreamOf("a"));
        Assert.Equal(Enumerable.Range(0, 15).Select(i => 2 * random.Normal((ulong)i)), a.ToDoubles());
        Assert.Equal(a.ToDoubles(), again.ToDoubles());
        Assert.NotEqual(a.ToDoubles(), b.ToDoubles());
    }

    [Fact]
    public void Normal_AcrossBlocks_HasTheRightMoments()
    {
        // n values: the mean is off by std / sqrt(n), the variance by var * sqrt(2 / n); five of each.
        const int N = 300_000;
        using Tensor tensor = Init.Normal("large", 0.02, N);
        double[] values = tensor.ToDoubles();
        double mean = values.Average(), variance = values.Average(value => value * value);
        Assert.Equal(0, mean, 5 * 0.02 / Math.Sqrt(N));
        Assert.Equal(4e-4, variance, 5 * 4e-4 * Math.Sqrt(2.0 / N));
        Assert.Equal(N, values.Distinct().Count());
    }

    [Fact]
    public void Tensors_OutliveAScope()
    {
        Parameter parameter;
        using (new TensorScope())
        {
            parameter = new Parameter("p", Init.Constant(3, 2));
            Assert.Equal([0, 0], parameter.Gradient.ToDoubles());
        }

        Assert.Equal([3, 3], parameter.Value.ToDoubles());
        Assert.False(parameter.Gradient.IsDisposed);
        parameter.Dispose();
    }
}
