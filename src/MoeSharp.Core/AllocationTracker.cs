using System.Collections.Concurrent;

namespace MoeSharp.Core;

/// <summary>Counts live tensors and backend allocations; with <c>MOESHARP_TRACK_ALLOCATIONS=1</c> it also remembers who made them.</summary>
public static class AllocationTracker
{
    private static readonly ConcurrentDictionary<Tensor, string> s_origins = new(ReferenceEqualityComparer.Instance);
    private static long s_liveTensors;
    private static long s_liveBytes;
    private static long s_allocations;

    /// <summary>Whether stack traces are recorded. Starts from the environment; tests switch it on.</summary>
    public static bool RecordOrigins { get; set; } = Environment.GetEnvironmentVariable("MOESHARP_TRACK_ALLOCATIONS") == "1";

    /// <summary>Tensors that were made and not disposed yet.</summary>
    public static long LiveTensors => Interlocked.Read(ref s_liveTensors);

    /// <summary>Bytes of backend memory that were allocated and not freed yet.</summary>
    public static long LiveBytes => Interlocked.Read(ref s_liveBytes);

    /// <summary>Backend allocations since the process started; a steady-state training step leaves it unchanged.</summary>
    public static long Allocations => Interlocked.Read(ref s_allocations);

    /// <summary>One text per live tensor: dtype, shape and, when recorded, the stack that made it.</summary>
    public static IReadOnlyList<string> Report() =>
        [.. s_origins.Select(pair => $"{pair.Key}{Environment.NewLine}{pair.Value}")];

    /// <summary>Called by backends after they allocated memory.</summary>
    public static void Allocated(long bytes)
    {
        Interlocked.Increment(ref s_allocations);
        Interlocked.Add(ref s_liveBytes, bytes);
    }

    /// <summary>Called by backends after they freed memory.</summary>
    public static void Freed(long bytes) => Interlocked.Add(ref s_liveBytes, -bytes);

    internal static void Opened(Tensor tensor)
    {
        Interlocked.Increment(ref s_liveTensors);
        if (RecordOrigins)
        {
            s_origins[tensor] = Environment.StackTrace;
        }
    }

    internal static void Closed(Tensor tensor)
    {
        Interlocked.Decrement(ref s_liveTensors);
        s_origins.TryRemove(tensor, out _);
    }
}
