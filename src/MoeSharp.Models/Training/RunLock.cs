using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Keeps a second process out of a run folder. The operating system lets go of it when the process ends, however it ends.</summary>
internal sealed class RunLock : IDisposable
{
    /// <summary>Name of the lock file.</summary>
    public const string FileName = ".lock";

    private readonly FileStream _stream;

    private RunLock(FileStream stream) => _stream = stream;

    /// <summary>Takes the lock.</summary>
    /// <exception cref="CheckpointFormatException">Another process trains in the folder, or it cannot be written to.</exception>
    public static RunLock Take(string folder)
    {
        string path = Path.Combine(folder, FileName);
        try
        {
            return new RunLock(new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1, FileOptions.DeleteOnClose));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointFormatException(
                $"The run folder '{folder}' cannot be locked; another process may be training in it: {error.Message}", error);
        }
    }

    public void Dispose() => _stream.Dispose();
}
