using System.Reflection;
using System.Runtime.InteropServices;
using MoeSharp.Cuda;
using Xunit;

namespace MoeSharp.Kernels.Tests;

/// <summary>The real NVRTC, which compiles to machine code without a GPU.</summary>
/// <remarks>
/// From the file that <see cref="Variable"/> names, or from where <c>.ci/nvrtc.sh</c> puts it. Without it the tests are skipped, except
/// in CI, where a missing compiler is a failure: there it would hide that nothing was checked.
/// </remarks>
internal static class RealNvrtc
{
    /// <summary>Variable that names the library.</summary>
    public const string Variable = "MOESHARP_TEST_NVRTC";

    private static readonly Lazy<string?> s_library = new(Load);

    /// <summary>The repository that the tests were built from.</summary>
    public static string Root { get; } = Path.GetFullPath(
        typeof(RealNvrtc).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(data => data.Key == "RepositoryRoot").Value!);

    /// <summary>Whether it is there, and in use by this process from now on.</summary>
    public static bool IsPresent => s_library.Value is not null;

    /// <summary>Skips the test where there is no NVRTC; fails it in CI.</summary>
    public static void Require()
    {
        if (!IsPresent)
        {
            string reason = $"There is no NVRTC. Run .ci/nvrtc.sh, which fetches it without installing anything, or set {Variable} to the file of one.";
            Assert.SkipUnless(Environment.GetEnvironmentVariable("CI") == "true", reason);
            Assert.Fail(reason);
        }
    }

    private static string? Load()
    {
        string fetched = Path.Combine(Root, ".artifacts", "nvrtc", "root");
        string? library = Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } named ? named
            : Directory.Exists(fetched) ? Directory.EnumerateFiles(fetched, "libnvrtc.so.12", SearchOption.AllDirectories).FirstOrDefault()
            : null;
        if (library is null)
        {
            return null;
        }

        // NVRTC opens its built-in functions by name only; what is loaded already is found.
        string folder = Path.GetDirectoryName(Path.GetFullPath(library))!;
        foreach (string builtins in Directory.EnumerateFiles(folder, "*nvrtc-builtins*").Order(StringComparer.Ordinal))
        {
            _ = NativeLibrary.TryLoad(builtins, out _);
        }

        NativeProbeResult probe = NativeProbe.Run(ProbeHost.System with { Environment = name => name == NativeProbe.NvrtcVariable ? library : Environment.GetEnvironmentVariable(name) });
        Assert.True(probe.Nvrtc is not null, $"{Variable} names '{library}', which does not load.{probe.Tried(NativeLibraryKind.Nvrtc)}");
        CudaLibraries.Use(probe);
        return library;
    }
}
