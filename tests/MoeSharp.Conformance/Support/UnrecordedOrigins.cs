using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>A stretch in which no stack traces are taken: for tensors whose owner is plain to see and disposes them all.</summary>
/// <remarks>A stack trace costs as much as a small op; the leak guard still counts these tensors.</remarks>
public readonly struct UnrecordedOrigins : IDisposable
{
    private readonly bool _before;

    private UnrecordedOrigins(bool before) => _before = before;

    /// <summary>Stops recording until disposed.</summary>
    public static UnrecordedOrigins Begin()
    {
        var stretch = new UnrecordedOrigins(AllocationTracker.RecordOrigins);
        AllocationTracker.RecordOrigins = false;
        return stretch;
    }

    public void Dispose() => AllocationTracker.RecordOrigins = _before;
}
