using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <summary>A folder of kernels compiled beforehand, for machines without NVRTC.</summary>
public static class KernelFolder
{
    /// <summary>Variable that names the folder.</summary>
    public const string Variable = "MOESHARP_KERNELS";

    /// <summary>Compiles every key of the catalog for some architectures into a folder, in parallel.</summary>
    /// <param name="folder">Made if it is missing; entries that are there already are kept.</param>
    /// <param name="architectures">Names such as <c>sm_90a</c>.</param>
    /// <param name="progress">Receives done and total after every kernel.</param>
    /// <param name="stop">Stops between two kernels.</param>
    /// <returns>Number of kernels in the folder.</returns>
    /// <exception cref="KernelCompileException">A kernel does not compile.</exception>
    /// <exception cref="BackendUnavailableException">There is no NVRTC.</exception>
    public static int Build(string folder, IReadOnlyList<string> architectures, IProgress<(int Done, int Total)>? progress = null, CancellationToken stop = default)
    {
        KernelKey[] keys = [.. architectures.SelectMany(arch => KernelCatalog.All.Select(key => key with { Architecture = arch }))];
        int done = 0;
        try
        {
            System.Threading.Tasks.Parallel.ForEach(keys, new ParallelOptions { CancellationToken = stop, MaxDegreeOfParallelism = Environment.ProcessorCount }, key =>
            {
                string file = PathOf(folder, key);
                if (KernelCache.Read(file) is null)
                {
                    KernelCache.Write(file, KernelCompiler.Compile(key, out _));
                }

                progress?.Report((Interlocked.Increment(ref done), keys.Length));
            });
        }
        catch (AggregateException many) when (many.InnerExceptions.Count > 0)
        {
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(many.InnerExceptions[0]);
        }

        return keys.Length;
    }

    /// <summary>A compiled key from a folder; null when it is not there, damaged, or made from another text.</summary>
    internal static byte[]? Get(string folder, KernelKey key) => KernelCache.Read(PathOf(folder, key));

    private static string PathOf(string folder, KernelKey key) =>
        Path.Combine(folder, $"{key.File.Replace('/', '-').Replace(".cu", string.Empty, StringComparison.Ordinal)}.{key.Architecture}.{KernelSources.Hash(key)[..32]}.cubin");
}
