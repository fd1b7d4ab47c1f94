using System.Runtime.InteropServices;

namespace MoeSharp.Cuda;

/// <summary>What a probe looks at: environment, files and the system's loader. Tests pass their own.</summary>
public sealed record ProbeHost
{
    /// <summary>The machine this process runs on.</summary>
    public static ProbeHost System { get; } = new();

    /// <summary>Whether names and folders are those of Windows.</summary>
    public bool IsWindows { get; init; } = OperatingSystem.IsWindows();

    /// <summary>Root of the file system, below which toolkits and Python packages are looked for.</summary>
    public string Root { get; init; } = Path.GetPathRoot(global::System.Environment.SystemDirectory) is { Length: > 0 } root ? root : "/";

    /// <summary>Reads an environment variable; null when it is not set.</summary>
    public Func<string, string?> Environment { get; init; } = global::System.Environment.GetEnvironmentVariable;

    /// <summary>Tries to load a library by path or name.</summary>
    public Func<string, bool> TryLoad { get; init; } = path => NativeLibrary.TryLoad(path, out _);
}
