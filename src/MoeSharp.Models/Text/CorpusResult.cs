namespace MoeSharp.Models;

/// <summary>A file that was found but not read as text.</summary>
/// <param name="Path">Full path.</param>
/// <param name="Reason">Why: binary, empty.</param>
public sealed record SkippedFile(string Path, string Reason);

/// <summary>Text, split for training and validation.</summary>
/// <param name="Train">Training bytes.</param>
/// <param name="Validation">Validation bytes; whole blocks of lines taken at regular distances from the same files.</param>
/// <param name="Files">Full paths of the files that were read, in reading order.</param>
/// <param name="Skipped">Files that were found and skipped.</param>
/// <param name="Sha256">SHA-256 of the whole text in reading order, lower-case hexadecimal.</param>
public sealed record CorpusResult(
    byte[] Train, byte[] Validation, IReadOnlyList<string> Files, IReadOnlyList<SkippedFile> Skipped, string Sha256)
{
    /// <summary>Bytes of text, training and validation together.</summary>
    public long TotalBytes => (long)Train.Length + Validation.Length;
}
