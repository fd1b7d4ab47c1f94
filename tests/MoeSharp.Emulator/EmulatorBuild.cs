using System.Diagnostics;
using System.Reflection;
using System.Security.Cryptography;
using System.Text;
using MoeSharp.Cuda;

namespace MoeSharp.Emulator;

/// <summary>The emulated driver and NVRTC of <c>tests/emulator</c>, built with g++ when they are first needed.</summary>
/// <remarks>Kept below <c>.artifacts/emulator</c> in a folder named by the sources' hash, so a change builds a new one and nothing else does. Safe with several processes.</remarks>
public static class EmulatorBuild
{
    private const string FileName = "libmoesharp-emulator.so";
    private static readonly Lazy<(string? Library, string Reason)> s_result = new(Build);

    /// <summary>The library, or null where it cannot be built.</summary>
    public static string? Library => s_result.Value.Library;

    /// <summary>Why there is none.</summary>
    public static string Reason => s_result.Value.Reason;

    /// <summary>The repository that the tests were built from.</summary>
    public static string Root { get; } = Path.GetFullPath(
        typeof(EmulatorBuild).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(data => data.Key == "RepositoryRoot").Value!);

    /// <summary>A machine on which driver and NVRTC are the emulator.</summary>
    /// <exception cref="InvalidOperationException">The emulator cannot be built.</exception>
    public static ProbeHost Host
    {
        get
        {
            string library = Library ?? throw new InvalidOperationException(Reason);
            return ProbeHost.System with
            {
                Environment = name => name is NativeProbe.DriverVariable or NativeProbe.NvrtcVariable ? library : Environment.GetEnvironmentVariable(name),
            };
        }
    }

    private static (string? Library, string Reason) Build()
    {
        string sources = Path.Combine(Root, "tests", "emulator");
        if (!OperatingSystem.IsLinux() || !Directory.Exists(sources))
        {
            return (null, "The CUDA emulator is built on Linux, from the repository.");
        }

        string folder = Path.Combine(Root, ".artifacts", "emulator", Hash(sources));
        string library = Path.Combine(folder, FileName);
        if (File.Exists(library))
        {
            return (library, string.Empty);
        }

        string part = $"{folder}.{Environment.ProcessId}.part";
        (int code, string output) = Run("bash", Path.Combine(sources, "build.sh"), part);
        if (code != 0)
        {
            return (null, $"The CUDA emulator does not build (g++ 12 or newer is needed): {output.Trim()}");
        }

        try
        {
            Directory.Move(part, folder);
        }
        catch (IOException) when (File.Exists(library))
        {
            Directory.Delete(part, recursive: true); // another process was faster
        }

        return (library, string.Empty);
    }

    private static string Hash(string folder)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string file in Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes(Path.GetFileName(file)));
            hash.AppendData(File.ReadAllBytes(file));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..16];
    }

    private static (int Code, string Output) Run(string program, params string[] arguments)
    {
        using Process? process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, RedirectStandardOutput = true });
        if (process is null)
        {
            return (127, $"{program} does not start");
        }

        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output + errors.GetAwaiter().GetResult());
    }
}
