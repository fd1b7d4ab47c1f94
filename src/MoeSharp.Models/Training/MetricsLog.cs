using System.Text;
using System.Text.Json;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Appends to <c>metrics.jsonl</c>; each line is handed to the operating system at once, so a killed process loses none.</summary>
internal sealed class MetricsLog : IDisposable
{
    private readonly FileStream _stream;

    private MetricsLog(FileStream stream) => _stream = stream;

    /// <summary>Opens a log, new or old.</summary>
    public static MetricsLog Open(string path) =>
        new(new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read));

    /// <summary>Drops what lies behind a step: later steps, the final measurements, a half-written line.</summary>
    public void CutAfter(long step)
    {
        _stream.Seek(0, SeekOrigin.Begin);
        _stream.SetLength(KeptBytes(_stream, step));
        _stream.Seek(0, SeekOrigin.End);
    }

    public void Append(string line)
    {
        _stream.Write(Encoding.UTF8.GetBytes(line + "\n"));
        _stream.Flush();
    }

    public void Dispose() => _stream.Dispose();

    private static long KeptBytes(FileStream stream, long lastStep)
    {
        var text = new byte[stream.Length];
        stream.ReadExactly(text);
        int kept = 0;
        while (kept < text.Length)
        {
            int length = text.AsSpan(kept).IndexOf((byte)'\n');
            if (length < 0 || !Belongs(text.AsMemory(kept, length), lastStep))
            {
                break;
            }

            kept += length + 1;
        }

        return kept;
    }

    private static bool Belongs(ReadOnlyMemory<byte> line, long lastStep)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            var fields = new JsonFields(document.RootElement, "line");
            return fields.Integer("step", 0, long.MaxValue) <= lastStep
                && fields.Text("kind") != "final"
                && !fields.Boolean("final", false);
        }
        catch (Exception error) when (error is JsonException or CheckpointFormatException)
        {
            // A line that a kill or an editor damaged: the log goes on from before it.
            return false;
        }
    }
}
