using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Cuda.Tests;

/// <summary>A backend in an application: its context, its stream, its current context, and a kernel that fails.</summary>
public sealed class ContextTests
{
    [Fact]
    public void Backend_WorksInAnExistingContextAndOnAnExistingStream()
    {
        nint context = Emulated.NewContext();
        using (CudaBackend first = Emulated.Backend(new CudaOptions { Context = context }))
        using (CudaBackend second = Emulated.Backend(new CudaOptions { Context = context, Stream = first.Stream }))
        using (Tensor x = first.FromDoubles([1, 2], 2))
        using (Tensor seen = second.Wrap(x.Pointer, new Shape(2), DType.Float32))
        {
            Assert.Equal(context, first.Context);
            Assert.Equal(first.Stream, second.Stream);
            first.Scale(x, 2, x);
            second.Scale(seen, 5, seen); // the same stream: after the line before
            Assert.Equal([10.0, 20.0], x.ToDoubles());
        }

        Emulated.Destroy(context);
    }

    [Fact]
    public void Stream_OfTheApplication_OutlivesTheBackend()
    {
        using CudaBackend owner = Emulated.Backend();
        using (CudaBackend guest = Emulated.Backend(new CudaOptions { Stream = owner.Stream }))
        {
            Assert.Equal(owner.Stream, guest.Stream);
        }

        using Tensor x = owner.FromDoubles([4], 1);
        Assert.Equal([4.0], x.ToDoubles());
    }

    [Fact]
    public void CurrentContext_OfTheApplication_IsNeverChanged()
    {
        Assert.Equal(0, Emulated.Current);
        using (CudaBackend backend = Emulated.Backend())
        using (Tensor x = backend.FromDoubles([1, 2], 2))
        {
            backend.Scale(x, 2, x);
            Assert.Equal(0, Emulated.Current);
            using CudaGraph graph = backend.Capture(() => backend.Scale(x, 2, x));
            graph.Replay();
            backend.Synchronize();
            Assert.Equal(0, Emulated.Current);
        }

        Assert.Equal(0, Emulated.Current);
        Assert.Throws<BackendUnavailableException>(() => Emulated.Backend(new CudaOptions { DeviceIndex = 99 }));
        Assert.Equal(0, Emulated.Current);
    }

    [Fact]
    public void AKernelThatFails_IsReportedAtTheNextSynchronisation_WithTheKernelsLaunched()
    {
        nint context = Emulated.NewContext();
        CudaBackend backend = Emulated.Backend(new CudaOptions { Context = context });
        using (Tensor x = backend.Empty(4))
        using (Tensor tooLong = backend.Wrap(x.Pointer, new Shape(5), DType.Float32))
        {
            backend.Fill(tooLong, 1);
            CudaException error = Assert.Throws<CudaException>(backend.Synchronize);
            Assert.Equal(700, error.Code);
            Assert.Contains("Waiting for the GPU (kernels launched last: fill) failed with CUDA_ERROR_ILLEGAL_ADDRESS (700).", error.Message, StringComparison.Ordinal);
            Assert.Contains("compute-sanitizer", error.Message, StringComparison.Ordinal);
        }

        backend.Dispose(); // does not throw: a failure must not hide the one before
        Emulated.Destroy(context);
        Assert.Contains("fill", Emulator.EmulatorControl.Report, StringComparison.Ordinal);
        Emulator.EmulatorControl.Forget();
    }

    [Fact]
    public void AKernelOnFreedMemory_IsReportedAsSuch()
    {
        nint context = Emulated.NewContext();
        CudaBackend backend = Emulated.Backend(new CudaOptions { Context = context });
        Tensor x = backend.Empty(4);
        using (Tensor kept = backend.Wrap(x.Pointer, new Shape(4), DType.Float32))
        {
            x.Dispose();
            backend.Fill(kept, 1);
            Assert.Equal(700, Assert.Throws<CudaException>(backend.Synchronize).Code);
        }

        backend.Dispose();
        Emulated.Destroy(context);
        Assert.Contains("use-after-free", Emulator.EmulatorControl.Report, StringComparison.Ordinal);
        Assert.Contains("fill", Emulator.EmulatorControl.Report, StringComparison.Ordinal);
        Emulator.EmulatorControl.Forget();
    }

    [Fact]
    public void AGraphThatFails_IsNamed()
    {
        nint context = Emulated.NewContext();
        CudaBackend backend = Emulated.Backend(new CudaOptions { Context = context });
        using (Tensor x = backend.FromDoubles([1, 2, 3, 4], 4))
        {
            Tensor tooLong = backend.Wrap(x.Pointer, new Shape(5), DType.Float32);
            backend.Scale(x, 1, x); // loads the kernel
            using CudaGraph graph = backend.Capture(() => backend.Scale(tooLong, 2, tooLong));
            tooLong.Dispose();
            backend.Synchronize();
            graph.Replay();
            Assert.Contains(
                "(kernels launched last: a graph of 1 launches) failed with CUDA_ERROR_ILLEGAL_ADDRESS",
                Assert.Throws<CudaException>(backend.Synchronize).Message,
                StringComparison.Ordinal);
        }

        backend.Dispose();
        Emulated.Destroy(context);
        Emulator.EmulatorControl.Forget();
    }

    [Fact]
    public void Context_ThatIsNone_IsRefused()
    {
        Assert.Contains(
            "There is no device cuda:7; the driver shows 2 devices.",
            Assert.Throws<BackendUnavailableException>(() => Emulated.Backend(new CudaOptions { DeviceIndex = 7 })).Message,
            StringComparison.Ordinal);
        Assert.Contains(
            "is 0 or more, got -1", Assert.Throws<ArgumentException>(() => Emulated.Backend(new CudaOptions { DeviceIndex = -1 })).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Backends_OnSeveralThreads_DoNotDisturbEachOther() => Parallel.For(0, 4, index =>
    {
        using CudaBackend backend = Emulated.Backend(new CudaOptions { DeviceIndex = index % 2 });
        using Tensor x = backend.FromDoubles([index], 1);
        for (int i = 0; i < 20; i++)
        {
            backend.Axpy(1, x, x);
        }

        Assert.Equal(index * Math.Pow(2, 20), x.ToDoubles()[0]);
        Assert.Equal(0, Emulated.Current);
    });
}
