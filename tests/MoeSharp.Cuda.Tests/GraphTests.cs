using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Cuda.Tests;

/// <summary>Graphs: what a capture may hold, what it refuses, and that a replay computes on what the tensors hold then.</summary>
public sealed class GraphTests : IDisposable
{
    private readonly CudaBackend _backend = Emulated.Backend();
    private readonly Tensor _x;
    private readonly Tensor _y;

    public GraphTests()
    {
        _x = _backend.FromDoubles([1, 2, 3], 3);
        _y = _backend.FromDoubles([0, 0, 0], 3);
    }

    public void Dispose()
    {
        _x.Dispose();
        _y.Dispose();
        _backend.Dispose();
    }

    [Fact]
    public void Replay_ComputesOnWhatTheTensorsHoldThen()
    {
        _backend.Scale(_x, 2, _y); // loads the kernel
        _backend.Fill(_y, 0);
        using CudaGraph graph = _backend.Capture(() => _backend.Scale(_x, 2, _y));
        Assert.Equal(1, graph.Nodes);
        Assert.Equal([0.0, 0.0, 0.0], _y.ToDoubles());
        graph.Replay();
        Assert.Equal([2.0, 4.0, 6.0], _y.ToDoubles());
        _x.FromDoubles([5, 6, 7]);
        graph.Replay();
        Assert.Equal([10.0, 12.0, 14.0], _y.ToDoubles());
    }

    [Fact]
    public void Capture_OfAKernelThatIsNotLoaded_SaysWhatToDo() => Refuses(
        () => _backend.Scale(_x, 2, _y), "is needed for the first time while a graph is captured, when kernels cannot be loaded. Run the ops once before, or call Precompile.");

    [Fact]
    public void Capture_OfAnAllocation_IsRefusedWithItsSize() => Refuses(
        () => _backend.Empty(1000).Dispose(), "it cannot hold an allocation, here of 4,000 bytes");

    [Fact]
    public void Capture_OfACopyFromTheDevice_IsRefused() => Refuses(() => _x.ToDoubles(), "it cannot hold a copy to the host");

    [Fact]
    public void Capture_OfACopyToTheDevice_IsRefused() => Refuses(() => _x.FromDoubles([1, 2, 3]), "it cannot hold a copy to the device");

    [Fact]
    public void Capture_WhenTheWorkspaceWouldGrow_NamesTheSizeToReserve() => Refuses(
        () => _backend.ReserveWorkspace(123456), "Call ReserveWorkspace(123456) before the capture");

    [Fact]
    public void Capture_InWhichATensorIsDisposed_IsRefused_AndItsMemoryFreed()
    {
        long used = _backend.Memory.Used;
        Tensor z = _backend.Empty(1000);
        Refuses(z.Dispose, "1 tensor was disposed while a graph was captured; a replay would use freed memory.");
        _backend.Synchronize();
        Assert.Equal(used, _backend.Memory.Used);
    }

    [Fact]
    public void Replay_OfADisposedGraph_IsRefused()
    {
        _backend.Scale(_x, 2, _y);
        CudaGraph graph = _backend.Capture(() => _backend.Scale(_x, 2, _y));
        graph.Dispose();
        graph.Dispose();
        Assert.Throws<ObjectDisposedException>(graph.Replay);
    }

    [Fact]
    public void Events_TimeWhatLiesBetweenThem()
    {
        using CudaEvent start = _backend.CreateEvent(), end = _backend.CreateEvent();
        _backend.Record(start);
        _backend.Scale(_x, 2, _y);
        _backend.Record(end);
        Assert.True(CudaEvent.Milliseconds(start, end) >= 0);
        Assert.Equal([2.0, 4.0, 6.0], _y.ToDoubles());
    }

    [Fact]
    public void Wait_OrdersTwoStreams()
    {
        using CudaBackend second = Emulated.Backend();
        using CudaEvent ready = _backend.CreateEvent();
        _backend.Fill(_y, 3);
        _backend.Record(ready);
        second.Wait(ready);
        using Tensor seen = second.Wrap(_y.Pointer, new Shape(3), DType.Float32);
        using Tensor copy = second.Empty(3);
        second.Scale(seen, 2, copy);
        Assert.Equal([6.0, 6.0, 6.0], copy.ToDoubles());
    }

    private void Refuses(Action action, string part)
    {
        Assert.Contains(part, Assert.Throws<InvalidOperationException>(() => _backend.Capture(action)).Message, StringComparison.Ordinal);

        // The stream records no longer, and the backend works.
        _backend.Scale(_x, 3, _y);
        Assert.Equal([3.0, 6.0, 9.0], _y.ToDoubles());
    }
}
