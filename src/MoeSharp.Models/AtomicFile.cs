namespace MoeSharp.Models;

/// <summary>Replaces a file as a whole or not at all.</summary>
/// <remarks>
/// A process can be killed between any two instructions. The choice: write a temporary file in the same folder, flush it to the disk, then
/// rename; whoever opens the final name sees the old content or the new one, and a mapped old file stays intact. A temporary file
/// that a killed process left behind is overwritten by the next write of the same name.
/// </remarks>
internal static class AtomicFile
{
    /// <summary>Ends the names of temporary files.</summary>
    public const string TemporarySuffix = ".moe-tmp";

    /// <summary>Writes a file through a stream.</summary>
    public static void Write(string path, Action<Stream> write)
    {
        string temporary = path + TemporarySuffix;
        try
        {
            using (var stream = new FileStream(temporary, FileMode.Create, FileAccess.Write, FileShare.None, 1 << 16))
            {
                write(stream);
                stream.Flush(flushToDisk: true);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    /// <summary>Writes a text file as UTF-8 without a byte order mark.</summary>
    public static void WriteText(string path, string text) => Write(path, stream => stream.Write(System.Text.Encoding.UTF8.GetBytes(text)));

    /// <summary>Removes temporary files that a killed process left in a folder.</summary>
    public static void CleanUp(string folder)
    {
        foreach (string leftover in Directory.EnumerateFiles(folder, "*" + TemporarySuffix))
        {
            File.Delete(leftover);
        }
    }
}
