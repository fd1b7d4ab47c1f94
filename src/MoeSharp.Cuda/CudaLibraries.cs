using System.Reflection;
using System.Runtime.InteropServices;

namespace MoeSharp.Cuda;

/// <summary>Which driver and which NVRTC this process uses: what the first probe found.</summary>
/// <remarks>A native function resolves once per process, so the choice is made once; a later probe that finds other libraries is an error, not a silent mixture.</remarks>
internal static class CudaLibraries
{
    /// <summary>Name that the driver's functions are declared with.</summary>
    public const string DriverName = "moesharp-cuda-driver";

    /// <summary>Name that NVRTC's functions are declared with.</summary>
    public const string NvrtcName = "moesharp-nvrtc";

    private static readonly Lock s_lock = new();
    private static bool s_installed;
    private static string? s_driver;
    private static string? s_nvrtc;

    /// <summary>The driver in use: its path, or null.</summary>
    public static string? DriverPath => s_driver;

    /// <summary>The NVRTC in use: its path, or null.</summary>
    public static string? NvrtcPath => s_nvrtc;

    /// <summary>Takes over what a probe found. A library that was missing before may be added later.</summary>
    /// <exception cref="InvalidOperationException">The process already uses another library.</exception>
    public static void Use(NativeProbeResult probe)
    {
        lock (s_lock)
        {
            s_driver = Choose("CUDA driver", s_driver, probe.Driver);
            s_nvrtc = Choose("NVRTC", s_nvrtc, probe.Nvrtc);
            if (!s_installed)
            {
                NativeLibrary.SetDllImportResolver(typeof(CudaLibraries).Assembly, Resolve);
                s_installed = true;
            }
        }
    }

    private static string? Choose(string what, string? present, string? found)
    {
        if (present is not null && found is not null && present != found)
        {
            throw new InvalidOperationException($"This process uses the {what} {present} already; it cannot use {found} as well. Start another process for it.");
        }

        return present ?? found;
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath)
    {
        string? path = name switch
        {
            DriverName => s_driver,
            NvrtcName => s_nvrtc,
            _ => null,
        };
        if (path is null)
        {
            return 0;
        }

        if (name == NvrtcName)
        {
            LoadBuiltins(path);
        }

        return NativeLibrary.Load(path);
    }

    /// <summary>NVRTC opens its library of built-in functions by name only; outside of the loader's folders it is found when it is loaded already.</summary>
    private static void LoadBuiltins(string nvrtc)
    {
        if (Path.GetDirectoryName(nvrtc) is { Length: > 0 } folder)
        {
            foreach (string builtins in Directory.EnumerateFiles(folder, "*nvrtc-builtins*").Order(StringComparer.Ordinal))
            {
                _ = NativeLibrary.TryLoad(builtins, out _);
            }
        }
    }
}
