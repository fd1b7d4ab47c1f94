using System.Security.Cryptography;
using System.Text;

namespace MoeSharp.Cuda;

/// <summary>The text of every kernel, embedded in this assembly.</summary>
internal static class KernelSources
{
    private const string Prefix = "kernels/";
    private static readonly Lazy<Dictionary<string, string>> s_files = new(ReadAll);
    private static readonly Lazy<(string[] Names, string[] Texts)> s_headers = new(() =>
    {
        string[] names = [.. s_files.Value.Keys.Where(name => name.EndsWith(".cuh", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
        return (names, [.. names.Select(name => s_files.Value[name])]);
    });

    /// <summary>Files that hold kernels.</summary>
    public static IEnumerable<string> Files => s_files.Value.Keys.Where(name => name.EndsWith(".cu", StringComparison.Ordinal)).Order(StringComparer.Ordinal);

    /// <summary>Names of all files that can be included, and their texts.</summary>
    public static (string[] Names, string[] Texts) Headers => s_headers.Value;

    /// <summary>The text of a file.</summary>
    /// <exception cref="ArgumentException">There is no such file.</exception>
    public static string Text(string file) => s_files.Value.TryGetValue(file, out string? text)
        ? text
        : throw new ArgumentException($"There is no kernel file '{file}' in {typeof(KernelSources).Assembly.GetName().Name}.", nameof(file));

    /// <summary>Hash of everything that decides what a key compiles to, the compiler aside.</summary>
    public static string Hash(KernelKey key)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Append(key.File, key.Constants, key.Architecture, Text(key.File));
        foreach ((string name, string text) in Headers.Names.Zip(Headers.Texts))
        {
            Append(name, text);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());

        void Append(params ReadOnlySpan<string> parts)
        {
            foreach (string part in parts)
            {
                hash.AppendData(Encoding.UTF8.GetBytes(part + "\0"));
            }
        }
    }

    private static Dictionary<string, string> ReadAll()
    {
        var files = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (string name in typeof(KernelSources).Assembly.GetManifestResourceNames().Where(name => name.StartsWith(Prefix, StringComparison.Ordinal)))
        {
            using Stream stream = typeof(KernelSources).Assembly.GetManifestResourceStream(name)!;
            using var reader = new StreamReader(stream, Encoding.UTF8);
            files.Add(name[Prefix.Length..].Replace('\\', '/'), reader.ReadToEnd());
        }

        return files;
    }
}
