using System.Text;
using System.Text.Json;

namespace MoeSharp.Models;

/// <summary>Writes JSON to text: indented for files people read, on one line for logs.</summary>
internal static class JsonText
{
    /// <summary>Two blanks per level, line feeds on every platform, a line feed at the end.</summary>
    public static string Indented(Action<Utf8JsonWriter> write) =>
        Make(write, new JsonWriterOptions { Indented = true, NewLine = "\n" }) + "\n";

    /// <summary>One line, without its line feed.</summary>
    public static string Line(Action<Utf8JsonWriter> write) => Make(write, default);

    private static string Make(Action<Utf8JsonWriter> write, JsonWriterOptions options)
    {
        using var memory = new MemoryStream();
        using (var json = new Utf8JsonWriter(memory, options))
        {
            write(json);
        }

        return Encoding.UTF8.GetString(memory.GetBuffer(), 0, (int)memory.Length);
    }
}
