using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Cuda.Tests;

/// <summary>The pool, the workspace, and memory of the application.</summary>
public sealed class MemoryTests : IDisposable
{
    private readonly CudaBackend _backend = Emulated.Backend();

    public void Dispose() => _backend.Dispose();

    [Fact]
    public void Empty_LargerThanTheDevice_SaysHowMuchThereIs()
    {
        string message = Assert.Throws<InsufficientMemoryException>(() => _backend.Empty(new Shape(1L << 40), DType.Float32)).Message;
        Assert.StartsWith("The GPU has no 4,398,046,511,104 bytes left: of its ", message, StringComparison.Ordinal);
        Assert.Contains("this backend uses 0 and holds 0. Use fewer tokens per step, a smaller model, or bf16.", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Empty_AfterARefusal_Works()
    {
        Assert.Throws<InsufficientMemoryException>(() => _backend.Empty(new Shape(1L << 40), DType.Float32));
        using Tensor x = _backend.FromDoubles([1, 2], 2);
        Assert.Equal([1.0, 2.0], x.ToDoubles());
    }

    [Fact]
    public void Memory_CountsWhatIsInUse_AndTheMostThatWas()
    {
        Tensor x = _backend.Empty(1 << 20);
        Assert.Equal(4 << 20, _backend.Memory.Used);
        x.Dispose();
        _backend.Synchronize();
        Assert.Equal(0, _backend.Memory.Used);
        Assert.Equal(4 << 20, _backend.Memory.UsedHigh);
    }

    [Fact]
    public void Tracker_CountsBytesOfTheDevice()
    {
        long before = AllocationTracker.LiveBytes;
        using (Tensor x = _backend.Empty(1000))
        {
            Assert.Equal(before + 4000, AllocationTracker.LiveBytes);
        }

        Assert.Equal(before, AllocationTracker.LiveBytes);
    }

    [Fact]
    public void Wrap_SeesTheSameMemory_AndDoesNotFreeIt()
    {
        using Tensor owned = _backend.FromDoubles([1, 2, 3], 3);
        using (Tensor seen = _backend.Wrap(owned.Pointer, new Shape(3), DType.Float32))
        {
            _backend.Scale(seen, 2, seen);
        }

        Assert.Equal([2.0, 4.0, 6.0], owned.ToDoubles());
    }

    [Theory]
    [InlineData(0, "the device pointer is null")]
    [InlineData(4098, "0x1002 is no multiple of the element size of Float32, 4 bytes")]
    public void Wrap_OfAWrongPointer_IsRefused(int pointer, string part) => Assert.Contains(
        part, Assert.Throws<ArgumentException>(() => _backend.Wrap(pointer, new Shape(3), DType.Float32)).Message, StringComparison.Ordinal);

    [Fact]
    public void Workspace_GrowsAndNeverShrinks()
    {
        _backend.ReserveWorkspace(1000);
        Assert.Equal(1000, _backend.WorkspaceBytes);
        _backend.ReserveWorkspace(10);
        Assert.Equal(1000, _backend.WorkspaceBytes);
        _backend.ReserveWorkspace(2000);
        Assert.Equal(2000, _backend.WorkspaceBytes);
    }

    [Theory]
    [InlineData(DType.Float64)]
    [InlineData(DType.Int32)]
    public void Options_WithAnotherFloatType_AreRefused(DType type) => Assert.Contains(
        $"computes in Float32 or BFloat16, not in {type}.",
        Assert.Throws<ArgumentException>(() => new CudaBackend(new CudaOptions { FloatType = type })).Message,
        StringComparison.Ordinal);
}
