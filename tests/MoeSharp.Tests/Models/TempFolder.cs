using System.Text;

namespace MoeSharp.Tests;

/// <summary>A folder that is removed with everything in it at the end of a test.</summary>
public sealed class TempFolder : IDisposable
{
    public string Root { get; } = Directory.CreateTempSubdirectory("moesharp-test-").FullName;

    public string this[string name] => Path.Combine(Root, name);

    /// <summary>Writes a file, with its folders, and returns its path.</summary>
    public string Write(string name, string text) => Write(name, Encoding.UTF8.GetBytes(text));

    public string Write(string name, byte[] bytes)
    {
        string path = this[name];
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
