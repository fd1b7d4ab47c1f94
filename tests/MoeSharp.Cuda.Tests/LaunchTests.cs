using MoeSharp.Core;
using MoeSharp.Cpu;
using Xunit;

namespace MoeSharp.Cuda.Tests;

/// <summary>Mistakes in a launch become messages on the host, not faults on the device.</summary>
public sealed class LaunchTests : IDisposable
{
    private readonly CudaBackend _backend = Emulated.Backend();
    private readonly Tensor _y;

    public LaunchTests() => _y = _backend.Empty(4);

    public void Dispose()
    {
        _y.Dispose();
        _backend.Dispose();
    }

    [Fact]
    public void Launch_OfACorrectCall_Runs()
    {
        Fill(new LaunchShape(1, 256), _y, 2.5f, 4L, 0);
        Assert.Equal([2.5, 2.5, 2.5, 2.5], _y.ToDoubles());
    }

    [Fact]
    public void Launch_WithAnArgumentTooFew_IsRefused() => Assert.Equal(
        "fill takes 4 arguments and was given 3.",
        Assert.Throws<ArgumentException>(() => Fill(new LaunchShape(1, 256), _y, 2.5f, 4L)).Message);

    [Fact]
    public void Launch_WithAnIntWhereTheKernelReadsALong_IsRefused() => Assert.Equal(
        "Argument 2 of fill has 8 bytes and was given one of 4: int and float have 4, long and pointers 8.",
        Assert.Throws<ArgumentException>(() => Fill(new LaunchShape(1, 256), _y, 2.5f, 4, 0)).Message);

    [Theory]
    [InlineData(0L, 256, 0, "a grid of 0 x 1 x 1 blocks; the limits are 2147483647 x 65535 x 65535")]
    [InlineData(1L << 31, 256, 0, "a grid of 2147483648 x 1 x 1 blocks")]
    [InlineData(1L, 0, 0, "0 threads per block; 1 to 1024 are possible")]
    [InlineData(1L, 2048, 0, "2048 threads per block; 1 to 1024 are possible")]
    [InlineData(1L, 256, 1 << 20, "bytes of shared memory per block for these sizes; the device has")]
    public void Launch_OfAnImpossibleShape_IsRefused(long blocks, int threads, int shared, string part) => Assert.Contains(
        part,
        Assert.Throws<ArgumentException>(() => Fill(new LaunchShape(blocks, threads, shared), _y, 2.5f, 4L, 0)).Message,
        StringComparison.Ordinal);

    [Fact]
    public void Launch_WithATensorOfAnotherBackend_IsRefused()
    {
        using var cpu = new CpuBackend(1);
        using Tensor other = cpu.Empty(4);
        Assert.Contains(
            "of backend 'cpu'; a tensor belongs to the backend that made it.",
            Assert.Throws<ArgumentException>(() => Fill(new LaunchShape(1, 256), other, 2.5f, 4L, 0)).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Launch_WithADisposedTensor_IsRefused()
    {
        Tensor gone = _backend.Empty(4);
        gone.Dispose();
        Assert.Throws<ObjectDisposedException>(() => Fill(new LaunchShape(1, 256), gone, 2.5f, 4L, 0));
    }

    [Fact]
    public void Launch_OfAKernelThatIsNotThere_NamesIt() => Assert.Contains(
        "Finding kernel no_such_kernel failed with CUDA_ERROR_NOT_FOUND (500).",
        Assert.Throws<CudaException>(() => _backend.Launch(_backend.Key("dense/elementwise.cu"), "no_such_kernel", new LaunchShape(1, 32))).Message,
        StringComparison.Ordinal);

    [Fact]
    public void Launch_OfAKeyThatIsNotInTheCatalog_IsRefused() => Assert.Contains(
        "is not in KernelCatalog; add it there",
        Assert.Throws<InvalidOperationException>(() => _backend.Launch(_backend.Key("dense/elementwise.cu", ("UNHEARD_OF", 1)), "fill", new LaunchShape(1, 32))).Message,
        StringComparison.Ordinal);

    [Fact]
    public void Backend_AfterDispose_IsRefusedAndDisposesOnce()
    {
        CudaBackend gone = Emulated.Backend();
        gone.Dispose();
        gone.Dispose();
        Assert.Throws<ObjectDisposedException>(() => gone.Empty(1));
    }

    [Fact]
    public void Launch_MakesNoGarbage()
    {
        Fill(new LaunchShape(1, 256), _y, 2.5f, 4L, 0);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
        {
            Fill(new LaunchShape(1, 256), _y, 2.5f, 4L, 0);
        }

        long bytes = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(bytes == 0, $"100 launches made {bytes} bytes of garbage.");
    }

    [Fact]
    public void Key_IsTheSameForConstantsInAnyOrder() => Assert.Equal(
        KernelKey.Of("x.cu", ("B", 2), ("A", 1)), KernelKey.Of("x.cu", ("A", 1), ("B", 2)));

    private void Fill(LaunchShape shape, params ReadOnlySpan<KernelArgument> arguments) =>
        _backend.Launch(_backend.Key("dense/elementwise.cu"), "fill", shape, arguments);
}
