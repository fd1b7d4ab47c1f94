namespace MoeSharp.Tests;

/// <summary>A folder of its own for a test.</summary>
internal sealed class CliFolder : IDisposable
{
    public string Root { get; } = Directory.CreateTempSubdirectory("moe-cli-").FullName;

    public string this[string name] => Path.Combine(Root, name);

    /// <summary>Text that a small model can learn something from, the same every time.</summary>
    public string Text(string name = "text.txt", int lines = 1500)
    {
        var random = new Random(11);
        string[] words = ["expert", "null", "router", "token", "slot", "int", "return", "layer", "x", "42"];
        string Line(int i) => new string(' ', i % 3 * 4) + string.Join(' ', Enumerable.Range(0, 5).Select(_ => words[random.Next(words.Length)])) + ";";
        string path = this[name];
        File.WriteAllLines(path, Enumerable.Range(0, lines).Select(Line));
        return path;
    }

    public void Dispose() => Directory.Delete(Root, recursive: true);
}
