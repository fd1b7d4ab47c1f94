using System.Security.Cryptography;
using System.Text;

namespace MoeSharp.Cuda;

/// <summary>Compiled kernels on disk, so that a kernel is compiled once per machine.</summary>
/// <remarks>
/// The problem: several processes start at the same time, machines lose power, folders are read-only. The choice: a file is named by the hash of
/// everything that decides its content, holds a checksum, and appears by a rename; whatever is wrong with one, it is compiled again. A
/// folder that cannot be written costs one warning and the time to compile.
/// </remarks>
public sealed class KernelCache
{
    /// <summary>Variable that names the folder.</summary>
    public const string Variable = "MOESHARP_CACHE";

    private static readonly byte[] s_magic = "MOECUBIN"u8.ToArray();
    private int _warned;

    /// <summary>Opens a cache; the folder is made when something is stored.</summary>
    /// <param name="folder">The folder; the default of this machine when null.</param>
    public KernelCache(string? folder = null) => Folder = Path.GetFullPath(folder ?? DefaultFolder);

    /// <summary>Where the files are.</summary>
    public string Folder { get; }

    /// <summary>Receives one warning when the folder cannot be used.</summary>
    public Action<string>? Warning { get; init; }

    /// <summary>Bytes of all entries.</summary>
    public long Bytes => Directory.Exists(Folder) ? new DirectoryInfo(Folder).EnumerateFiles("*.cubin").Sum(file => file.Length) : 0;

    private static string DefaultFolder =>
        Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } named ? named
        : OperatingSystem.IsWindows() ? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "moesharp", "kernels")
        : Path.Combine(
            Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg ? xdg : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"),
            "moesharp",
            "kernels");

    /// <summary>The compiled key, from disk or compiled now and stored.</summary>
    /// <exception cref="KernelCompileException">The text does not compile.</exception>
    public byte[] Get(KernelKey key)
    {
        string file = Path.Combine(Folder, Name(key));
        if (Read(file) is { } image)
        {
            return image;
        }

        image = KernelCompiler.Compile(key, out _);
        Store(file, image);
        return image;
    }

    /// <summary>Reads an entry; null when it is missing, cut off or damaged.</summary>
    internal static byte[]? Read(string file)
    {
        try
        {
            byte[] bytes = File.ReadAllBytes(file);
            int header = s_magic.Length + SHA256.HashSizeInBytes;
            return bytes.Length > header && bytes.AsSpan(0, s_magic.Length).SequenceEqual(s_magic)
                && SHA256.HashData(bytes.AsSpan(header)).AsSpan().SequenceEqual(bytes.AsSpan(s_magic.Length, SHA256.HashSizeInBytes))
                ? bytes[header..]
                : null;
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Writes an entry: all of it or nothing.</summary>
    internal static void Write(string file, byte[] image)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        string part = $"{file}.{Environment.ProcessId}.{Guid.NewGuid():N}.part";
        try
        {
            using (var stream = new FileStream(part, FileMode.CreateNew, FileAccess.Write))
            {
                stream.Write(s_magic);
                stream.Write(SHA256.HashData(image));
                stream.Write(image);
                stream.Flush(flushToDisk: true);
            }

            File.Move(part, file, overwrite: true);
        }
        finally
        {
            File.Delete(part);
        }
    }

    /// <summary>File name of a key: readable, and unique for text, constants, architecture, options and compiler.</summary>
    internal static string Name(KernelKey key)
    {
        string all = string.Join('\n', [KernelSources.Hash(key), KernelCompiler.Version, CudaLibraries.NvrtcPath ?? string.Empty, .. KernelCompiler.Options(key, verbose: false)]);
        string hash = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(all)));
        return $"{key.File.Replace('/', '-').Replace(".cu", string.Empty, StringComparison.Ordinal)}.{key.Architecture}.{hash[..32]}.cubin";
    }

    private void Store(string file, byte[] image)
    {
        try
        {
            Write(file, image);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            if (Interlocked.Exchange(ref _warned, 1) == 0)
            {
                Warning?.Invoke($"Compiled kernels cannot be kept in {Folder}: {error.Message} They are compiled again in every process; set {Variable} to a folder that can be written.");
            }
        }
    }
}
