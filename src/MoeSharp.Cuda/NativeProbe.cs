namespace MoeSharp.Cuda;

/// <summary>What a <see cref="NativeProbe"/> found.</summary>
/// <param name="Driver">Path or name that loaded, or null.</param>
/// <param name="Nvrtc">Path or name that loaded, or null.</param>
/// <param name="Attempts">Everything that was tried, in order.</param>
public sealed record NativeProbeResult(string? Driver, string? Nvrtc, IReadOnlyList<ProbeAttempt> Attempts)
{
    /// <summary>The attempts for one library, a line each, for messages.</summary>
    public string Tried(NativeLibraryKind library) => string.Concat(Attempts.Where(attempt => attempt.Library == library)
        .Select(attempt => $"{Environment.NewLine}  {attempt.Path} ({attempt.Source}): {attempt.Result}"));
}

/// <summary>Looks for the CUDA driver and NVRTC in a fixed order and records every attempt.</summary>
/// <remarks>
/// <para>The problem: "CUDA was not found" helps nobody. File names do not follow toolkit versions (toolkit 12.5 ships
/// <c>nvrtc64_120_0.dll</c>), containers have versioned names only, Windows toolkits moved to <c>bin\x64</c> with version 13. The choice: one ordered
/// list of candidates per library and a record of each attempt, which reports and errors print.</para>
/// <para>Order: the explicit variable (<c>MOESHARP_CUDA_DRIVER</c>, <c>MOESHARP_NVRTC</c>: a file, or a folder to look into; when it is set, nothing
/// else is tried, so that a wrong value is seen); for NVRTC the folders of <c>CUDA_PATH</c>, then <c>CUDA_HOME</c>; then the system's
/// loader; then the folders of <see cref="NvrtcPlaces"/>: installed toolkits and Python packages. Names: newest first, versions 13 to 11.2. A library
/// that loads stays loaded.</para>
/// </remarks>
public static class NativeProbe
{
    /// <summary>Variable that names the driver library.</summary>
    public const string DriverVariable = "MOESHARP_CUDA_DRIVER";

    /// <summary>Variable that names the NVRTC library.</summary>
    public const string NvrtcVariable = "MOESHARP_NVRTC";

    private static readonly string[] s_toolkitVariables = ["CUDA_PATH", "CUDA_HOME"];
    // Where the Windows Subsystem for Linux puts the driver, outside of the loader's folders in some containers.
    private const string SubsystemDriver = "usr/lib/wsl/lib/libcuda.so.1";
    private static readonly string[] s_linuxDrivers = ["libcuda.so.1", "libcuda.so"];
    private static readonly string[] s_windowsDrivers = ["nvcuda.dll"];

    // One file name serves a whole major version: 13 and 12 from their .0 on, 11 from 11.2 on.
    private static readonly string[] s_linuxNvrtc = ["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"];
    private static readonly string[] s_windowsNvrtc = ["nvrtc64_130_0.dll", "nvrtc64_120_0.dll", "nvrtc64_112_0.dll"];
    private static readonly string[] s_linuxFolders = ["lib64", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib", "targets/aarch64-linux/lib", "lib"];
    private static readonly string[] s_windowsFolders = ["bin/x64", "bin"];

    /// <summary>Probes.</summary>
    /// <param name="host">Where to look; this machine when null.</param>
    public static NativeProbeResult Run(ProbeHost? host = null)
    {
        host ??= ProbeHost.System;
        var attempts = new List<ProbeAttempt>();
        string? driver = First(NativeLibraryKind.Driver, host, attempts);
        string? nvrtc = First(NativeLibraryKind.Nvrtc, host, attempts);
        return new NativeProbeResult(driver, nvrtc, attempts);
    }

    private static string? First(NativeLibraryKind kind, ProbeHost host, List<ProbeAttempt> attempts)
    {
        foreach ((string source, string path) in Candidates(kind, host))
        {
            ProbeAttempt attempt = Attempt(kind, source, path, host);
            attempts.Add(attempt);
            if (attempt.Found)
            {
                return path;
            }
        }

        return null;
    }

    private static ProbeAttempt Attempt(NativeLibraryKind kind, string source, string path, ProbeHost host)
    {
        bool isFile = Path.IsPathRooted(path) || path.Contains('/', StringComparison.Ordinal) || path.Contains('\\', StringComparison.Ordinal);
        if (isFile && !File.Exists(path))
        {
            return new ProbeAttempt(kind, source, path, false, Directory.Exists(path) ? "a folder without the library" : "no such file");
        }

        return host.TryLoad(path)
            ? new ProbeAttempt(kind, source, path, true, "loaded")
            : new ProbeAttempt(kind, source, path, false, isFile ? "the file is there but does not load as a library of this platform" : "not found by the system's loader");
    }

    private static IEnumerable<(string Source, string Path)> Candidates(NativeLibraryKind kind, ProbeHost host)
    {
        bool isDriver = kind == NativeLibraryKind.Driver;
        string variable = isDriver ? DriverVariable : NvrtcVariable;
        string[] names = (isDriver, host.IsWindows) switch
        {
            (true, false) => s_linuxDrivers,
            (true, true) => s_windowsDrivers,
            (false, false) => s_linuxNvrtc,
            (false, true) => s_windowsNvrtc,
        };
        if (host.Environment(variable) is { Length: > 0 } value)
        {
            return Explicit(variable, value, names);
        }

        var candidates = new List<(string, string)>();
        foreach (string toolkit in isDriver ? [] : s_toolkitVariables)
        {
            if (host.Environment(toolkit) is { Length: > 0 } root)
            {
                candidates.AddRange(Below(toolkit, root, host.IsWindows ? s_windowsFolders : s_linuxFolders, names));
            }
        }

        candidates.AddRange(names.Select(name => ("system loader", name)));
        if (isDriver)
        {
            string subsystem = Path.Combine(host.Root, SubsystemDriver);
            return host.IsWindows || !File.Exists(subsystem) ? candidates : [.. candidates, ("Windows Subsystem for Linux", subsystem)];
        }

        return candidates.Concat(NvrtcPlaces.Of(host).SelectMany(place => In(place.Source, place.Pattern, names)));
    }

    private static IEnumerable<(string Source, string Path)> In(string source, string pattern, string[] names)
    {
        string[] present = [.. NvrtcPlaces.Expand(pattern).SelectMany(folder => names.Select(name => Path.Combine(folder, name))).Where(File.Exists)];
        return present.Length > 0 ? present.Select(path => (source, path)) : [(source, pattern)];
    }

    private static IEnumerable<(string Source, string Path)> Explicit(string variable, string value, string[] names)
    {
        string[] present = Directory.Exists(value) ? [.. names.Select(name => Path.Combine(value, name)).Where(File.Exists)] : [];
        return present.Length > 0 ? present.Select(path => (variable, path)) : [(variable, value)];
    }

    private static IEnumerable<(string Source, string Path)> Below(string toolkit, string root, string[] folders, string[] names)
    {
        // Only files that exist become attempts of their own: a toolkit would give dozens of "no such file" otherwise.
        string[] present =
        [
            .. folders.SelectMany(folder => names.Select(name => Path.Combine(root, folder.Replace('/', Path.DirectorySeparatorChar), name))).Where(File.Exists),
        ];
        return present.Length > 0 ? present.Select(path => (toolkit, path)) : [(toolkit, root)];
    }
}
