namespace MoeSharp.Cuda;

/// <summary>Folders in which NVRTC lies on machines where neither a variable nor the loader knows it.</summary>
/// <remarks>
/// The problem: most machines with PyTorch have NVRTC, but inside a Python package, in a folder that holds the versions of Python and
/// of the package. The choice: patterns in which <c>*</c> stands for any part of one folder's name; newest names first.
/// </remarks>
internal static class NvrtcPlaces
{
    private static readonly string[] s_linuxToolkit = ["lib64", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib"];
    private static readonly string[] s_linuxPackages = ["nvidia/cuda_nvrtc/lib", "nvidia/cu*/lib"];
    private static readonly string[] s_windowsPackages = ["nvidia/cuda_nvrtc/bin", "nvidia/cu*/bin/x86_64", "nvidia/cu*/bin"];

    /// <summary>Why to look, and where; in order.</summary>
    public static IEnumerable<(string Source, string Pattern)> Of(ProbeHost host) => host.IsWindows ? Windows(host) : Linux(host);

    /// <summary>The folders that fit a pattern, names in descending order.</summary>
    public static IEnumerable<string> Expand(string pattern)
    {
        string root = Path.GetPathRoot(pattern) is { Length: > 0 } absolute ? absolute : ".";
        IEnumerable<string> found = [root];
        foreach (string part in pattern[Path.GetPathRoot(pattern)!.Length..].Split('/', Path.DirectorySeparatorChar).Where(part => part.Length > 0))
        {
            found = part.Contains('*', StringComparison.Ordinal)
                ? found.SelectMany(folder => Below(folder, part))
                : found.Select(folder => Path.Combine(folder, part)).Where(Directory.Exists);
        }

        return found;
    }

    private static IEnumerable<string> Below(string folder, string part)
    {
        try
        {
            return Directory.GetDirectories(folder, part).OrderDescending(StringComparer.Ordinal);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static IEnumerable<(string Source, string Pattern)> Linux(ProbeHost host)
    {
        const string User = "lib/python3*/site-packages";
        IEnumerable<(string, string)> toolkits = s_linuxToolkit.Select(folder => ("installed toolkit", Path.Combine(host.Root, "usr/local/cuda*", folder)));
        return
        [
            .. toolkits,
            .. Packages("VIRTUAL_ENV", host.Environment("VIRTUAL_ENV"), User, s_linuxPackages),
            .. Packages("CONDA_PREFIX", host.Environment("CONDA_PREFIX"), "lib", [string.Empty]),
            .. Packages("CONDA_PREFIX", host.Environment("CONDA_PREFIX"), User, s_linuxPackages),
            .. Packages("Python packages", Joined(host.Environment("HOME"), ".local"), User, s_linuxPackages),
            .. Packages("Python packages", host.Root, "usr/local/lib/python3*/*-packages", s_linuxPackages),
            .. Packages("Python packages", host.Root, "usr/lib/python3/dist-packages", s_linuxPackages),
        ];
    }

    private static IEnumerable<(string Source, string Pattern)> Windows(ProbeHost host) =>
    [
        ("installed toolkit", Path.Combine(host.Root, "Program Files/NVIDIA GPU Computing Toolkit/CUDA/v*/bin/x64")),
        ("installed toolkit", Path.Combine(host.Root, "Program Files/NVIDIA GPU Computing Toolkit/CUDA/v*/bin")),
        .. Packages("VIRTUAL_ENV", host.Environment("VIRTUAL_ENV"), "Lib/site-packages", s_windowsPackages),
        .. Packages("CONDA_PREFIX", host.Environment("CONDA_PREFIX"), "Library/bin", [string.Empty]),
        .. Packages("CONDA_PREFIX", host.Environment("CONDA_PREFIX"), "Lib/site-packages", s_windowsPackages),
        .. Packages("Python packages", Joined(host.Environment("APPDATA"), "Python"), "Python3*/site-packages", s_windowsPackages),
    ];

    private static IEnumerable<(string Source, string Pattern)> Packages(string source, string? root, string below, string[] packages) =>
        string.IsNullOrEmpty(root) ? [] : packages.Select(package => (source, Path.Combine(root, below, package)));

    private static string? Joined(string? root, string below) => string.IsNullOrEmpty(root) ? null : Path.Combine(root, below);
}
