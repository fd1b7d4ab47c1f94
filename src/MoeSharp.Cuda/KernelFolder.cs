using System.Globalization;
using System.Runtime.ExceptionServices;
using System.Text.RegularExpressions;
using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <summary>A folder of kernels compiled beforehand, for machines without NVRTC.</summary>
/// <remarks>
/// File names hold a hash of the kernel's text and constants, so a folder made by another version of the engine is never used by mistake: its
/// entries are not found. <c>manifest.txt</c> lists them for people, one a line.
/// </remarks>
public static partial class KernelFolder
{
    private const string ManifestName = "manifest.txt";

    /// <summary>Stands for the architectures of this machine's devices in a list of architectures.</summary>
    public const string Native = "native";

    /// <summary>Variable that names the folder.</summary>
    public const string Variable = "MOESHARP_KERNELS";

    /// <summary>The folder in use: the one that is named, else the one of the variable, else null.</summary>
    /// <exception cref="DirectoryNotFoundException">It is named, but not there.</exception>
    internal static string? Find(string? named)
    {
        string? folder = named ?? Environment.GetEnvironmentVariable(Variable);
        return string.IsNullOrEmpty(folder) || Directory.Exists(folder)
            ? (folder is { Length: > 0 } ? folder : null)
            : throw new DirectoryNotFoundException($"There is no folder of compiled kernels '{folder}'. Make it with 'moe kernels build', or clear {Variable}.");
    }

    /// <summary>Compiles every key of the catalog for some architectures into a folder, in parallel.</summary>
    /// <param name="folder">Made if it is missing; entries that are there already are kept.</param>
    /// <param name="architectures">Names such as <c>sm_90a</c>; <see cref="Native"/> for those of this machine's devices.</param>
    /// <param name="progress">Receives done and total after every kernel.</param>
    /// <param name="stop">Stops between two kernels.</param>
    /// <returns>Number of kernels in the folder.</returns>
    /// <param name="host">Where NVRTC is looked for; this machine when null.</param>
    /// <exception cref="ArgumentException">A name is no architecture, or one before sm_80.</exception>
    /// <exception cref="KernelCompileException">A kernel does not compile.</exception>
    /// <exception cref="BackendUnavailableException">There is no NVRTC, or no device whose architecture <see cref="Native"/> could mean.</exception>
    public static int Build(
        string folder, IReadOnlyList<string> architectures, IProgress<(int Done, int Total)>? progress = null, ProbeHost? host = null, CancellationToken stop = default)
    {
        ArgumentNullException.ThrowIfNull(architectures);
        string[] names = Names(architectures, host);

        NativeProbeResult probe = NativeProbe.Run(host);
        if (probe.Nvrtc is null)
        {
            throw new BackendUnavailableException($"There is no NVRTC to compile kernels with. {KernelCompiler.WhereFrom} Tried:{probe.Tried(NativeLibraryKind.Nvrtc)}");
        }

        CudaLibraries.Use(probe);
        Directory.CreateDirectory(folder);
        KernelKey[] keys = [.. names.SelectMany(arch => KernelCatalog.All.Select(key => key with { Architecture = arch }))];
        Compile(folder, keys, progress, stop);
        WriteManifest(folder, keys);
        return keys.Length;
    }

    /// <summary>Compiles some keys into a folder.</summary>
    internal static void Compile(string folder, KernelKey[] keys, IProgress<(int Done, int Total)>? progress = null, CancellationToken stop = default)
    {
        ForEach(
            keys,
            key =>
            {
                string file = PathOf(folder, key);
                if (KernelCache.Read(file) is null)
                {
                    KernelCache.Write(file, KernelCompiler.Compile(key, out _));
                }
            },
            progress,
            stop);
    }

    /// <summary>Does something for every key on all processors; the first failure stops the rest and is thrown as it is.</summary>
    internal static void ForEach(IReadOnlyCollection<KernelKey> keys, Action<KernelKey> action, IProgress<(int Done, int Total)>? progress, CancellationToken stop = default)
    {
        int done = 0;
        try
        {
            Parallel.ForEach(keys, new ParallelOptions { CancellationToken = stop, MaxDegreeOfParallelism = Environment.ProcessorCount }, key =>
            {
                action(key);
                progress?.Report((Interlocked.Increment(ref done), keys.Count));
            });
        }
        catch (AggregateException many) when (many.InnerExceptions.Count > 0)
        {
            ExceptionDispatchInfo.Throw(many.InnerExceptions[0]);
        }
    }

    /// <summary>The architectures a list means, each once.</summary>
    internal static string[] Names(IEnumerable<string> architectures, ProbeHost? host)
    {
        string[] names = [.. architectures.SelectMany(name => name == Native ? OfDevices(host) : [name]).Distinct(StringComparer.Ordinal)];
        foreach (string name in names)
        {
            Check(name);
        }

        return names;
    }

    /// <summary>What the engine looks for on each of this machine's devices.</summary>
    private static IEnumerable<string> OfDevices(ProbeHost? host)
    {
        CudaInfo info = CudaInfo.Collect(host);
        return info.Devices.Count > 0
            ? info.Devices.Select(entry => KernelCompiler.NameOf((10 * entry.Device.Major) + entry.Device.Minor))
            : throw new BackendUnavailableException(
                $"'{Native}' means the architecture of this machine's CUDA device, and none can be used; name the architecture, such as sm_90a. "
                + (info.Probe.Driver is null ? $"No driver; tried:{info.Probe.Tried(NativeLibraryKind.Driver)}" : string.Join(' ', info.Problems)));
    }

    private static void Check(string architecture)
    {
        Match match = ArchitectureName().Match(architecture);
        int number = match.Success ? int.Parse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture) : 0;
        Guard.That(number >= 80, $"'{architecture}' is not an architecture that kernels can be compiled for; use names such as sm_80, sm_89, sm_90a, or {Native}.");

        // A folder of other names would never be looked into.
        Guard.That(
            architecture == KernelCompiler.NameOf(number),
            $"On devices of compute capability {number / 10}.{number % 10} the engine looks for kernels compiled for {KernelCompiler.NameOf(number)}, not for {architecture}.");
    }

    private static void WriteManifest(string folder, KernelKey[] keys)
    {
        IEnumerable<string> lines = keys.Select(key => $"{Path.GetFileName(PathOf(folder, key))}  {key}").Order(StringComparer.Ordinal);
        string file = Path.Combine(folder, ManifestName), part = $"{file}.{Environment.ProcessId}.part";
        File.WriteAllLines(part, [$"# Kernels compiled by NVRTC {KernelCompiler.Version}; {Variable} or CudaOptions.KernelFolder names this folder.", .. lines]);
        File.Move(part, file, overwrite: true);
    }

    /// <summary>A compiled key from a folder; null when it is not there, damaged, or made from another text.</summary>
    internal static byte[]? Get(string folder, KernelKey key) => KernelCache.Read(PathOf(folder, key));

    [GeneratedRegex("^(?:sm|compute)_([0-9]{2,3})[af]?$")]
    private static partial Regex ArchitectureName();

    private static string PathOf(string folder, KernelKey key) =>
        Path.Combine(folder, $"{key.File.Replace('/', '-').Replace(".cu", string.Empty, StringComparison.Ordinal)}.{key.Architecture}.{KernelSources.Hash(key)[..32]}.cubin");
}
