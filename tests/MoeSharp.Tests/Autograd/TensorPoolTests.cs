using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

public sealed class TensorPoolTests : AutogradTest
{
    [Fact]
    public void Rent_AfterReturn_ReusesTheMemory()
    {
        using var pool = new TensorPool(Backend);
        Tensor first = pool.Rent(DType.Float64, 10, 20);
        nint address = first.Pointer;
        pool.Return(first);
        Assert.True(first.IsDisposed);
        long allocations = AllocationTracker.Allocations;
        Assert.Equal(address, pool.Rent(DType.Float64, 20, 10).Pointer);
        Assert.Equal(allocations, AllocationTracker.Allocations);
    }

    [Fact]
    public void Share_KeepsTheMemoryUntilTheLastView()
    {
        using var pool = new TensorPool(Backend);
        Tensor first = pool.Rent(DType.Float64, 6);
        Assert.True(pool.IsExclusive(first));
        Tensor second = pool.Share(first, 2, 3);
        Assert.False(pool.IsExclusive(first));
        pool.Return(first);
        Assert.True(pool.IsExclusive(second));
        Assert.NotEqual(second.Pointer, pool.Rent(DType.Float64, 6).Pointer);
        nint address = second.Pointer;
        pool.Return(second);
        Assert.Equal(address, pool.Rent(DType.Float64, 6).Pointer);
    }

    [Fact]
    public void Share_OfAForeignTensor_IsNeverExclusive()
    {
        using var pool = new TensorPool(Backend);
        using Tensor x = Random("x", 6);
        Tensor view = pool.Share(x, 2, 3);
        Assert.False(pool.IsExclusive(view));
        pool.Reset();
        Assert.False(x.IsDisposed);
        Assert.True(view.IsDisposed);
    }

    [Fact]
    public void SizeClasses_WasteAtMostAnEighth()
    {
        for (long size = 65; size < 5000; size += 7)
        {
            using var pool = new TensorPool(Backend);
            pool.Rent(DType.Float64, size);
            Assert.InRange(pool.Bytes, size * 8, size * 8 * 9 / 8);
        }
    }

    [Theory]
    [InlineData(DType.Float64)]
    [InlineData(DType.Int32)]
    public void Poison_OverwritesWhatWasThere(DType type)
    {
        using var pool = new TensorPool(Backend) { Poison = true };
        double[] values = pool.Rent(type, 3).ToDoubles();
        Assert.All(values, value => Assert.True(double.IsNaN(value) || value < -1e9));
    }

    [Fact]
    public void Misuse_SaysWhatIsWrong()
    {
        using var pool = new TensorPool(Backend);
        using Tensor x = Random("x", 6);
        Assert.Throws<ArgumentException>(() => pool.Return(x));
        Assert.Throws<ArgumentException>(() => pool.Share(x, 5));
    }
}
