using System.Collections.Concurrent;
using MoeSharp.Cuda;

namespace MoeSharp.Kernels.Tests;

/// <summary>Every key of the catalogue compiled for every architecture, once for all tests.</summary>
/// <remarks>
/// The problem: some hundred compilations of a third of a second or more. The choice: all of them start in the background when the first test
/// asks for one, and a test waits for its own only. NVRTC up to 12.4 lets one compilation run at a time in a process, later ones use every processor.
/// </remarks>
public sealed class KernelBuilds : IDisposable
{
    private readonly ConcurrentDictionary<KernelKey, TaskCompletionSource<KernelBuild>> _builds = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly Lazy<Task> _work;

    public KernelBuilds() => _work = new Lazy<Task>(() => Task.Run(CompileAll));

    /// <summary>The architectures that kernels are compiled for in tests: Ampere, its two smaller relatives, and Hopper.</summary>
    public static IReadOnlyList<string> Architectures { get; } = [.. ((int[])[80, 86, 89, 90]).Select(KernelCompiler.NameOf)];

    /// <summary>One key on one architecture.</summary>
    internal Task<KernelBuild> Get(KernelKey key)
    {
        _ = _work.Value;
        return Slot(key).Task;
    }

    public void Dispose()
    {
        _stop.Cancel();
        if (_work.IsValueCreated)
        {
            _work.Value.Wait();
        }

        _stop.Dispose();
    }

    private void CompileAll()
    {
        KernelKey[] keys = [.. KernelCatalog.All.SelectMany(key => Architectures, (key, architecture) => key with { Architecture = architecture })];
        try
        {
            Parallel.ForEach(
                Partitioner.Create(keys, EnumerablePartitionerOptions.NoBuffering),
                new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = _stop.Token },
                key => Slot(key).SetResult(KernelBuild.Of(key)));
        }
        catch (OperationCanceledException)
        {
            // The run ended before every key was asked for.
        }
    }

    private TaskCompletionSource<KernelBuild> Slot(KernelKey key) => _builds.GetOrAdd(key, _ => new(TaskCreationOptions.RunContinuationsAsynchronously));
}

/// <summary>Result of one compilation.</summary>
/// <param name="Key">File, constants and architecture.</param>
/// <param name="Bytes">Size of the machine code; 0 when it does not compile.</param>
/// <param name="Log">What compiler and assembler said, or why the compiler refused.</param>
internal sealed record KernelBuild(KernelKey Key, int Bytes, string Log)
{
    /// <summary>What each kernel costs.</summary>
    public IReadOnlyList<EntryResources> Entries { get; } = EntryResources.Parse(Log);

    /// <summary>Compiles a key.</summary>
    public static KernelBuild Of(KernelKey key)
    {
        try
        {
            return new KernelBuild(key, KernelCompiler.Compile(key, out string log, verbose: true).Length, log);
        }
        catch (Exception error) when (error is KernelCompileException or CudaException or ArgumentException)
        {
            return new KernelBuild(key, 0, error.Message);
        }
    }
}
