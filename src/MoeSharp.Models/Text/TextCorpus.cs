using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Unicode;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Reads text files into one byte sequence and splits it for training and validation.</summary>
/// <remarks>
/// The problem: a split by files or by position gives validation text of another kind (the last chapter, another language). The choice:
/// the text is cut at line ends into blocks of about <see cref="BlockBytes"/> bytes and every n-th block goes to validation, n at least 10 and
/// large enough that validation stays near its wanted size; so both parts have the same mixture, and the split depends on the text
/// alone. Small texts use smaller blocks, never smaller than what a model needs in one window.
/// </remarks>
public static class TextCorpus
{
    /// <summary>Size of a block of the split for texts that are large enough.</summary>
    public const int BlockBytes = 4096;

    /// <summary>About how many bytes validation gets at most, unless asked otherwise.</summary>
    public const long DefaultValidationBytes = 256 * 1024;

    private const long MaximumBytes = 2_000_000_000;
    private const double LargestInvalidShare = 0.3;

    /// <summary>Reads and splits.</summary>
    /// <param name="pathsOrGlobs">Files, folders (searched to any depth) or globs with <c>*</c>, <c>?</c>, <c>**</c>.</param>
    /// <param name="minimumBytes">Bytes that training and validation must each have: one window, the context length plus one.</param>
    /// <param name="validationBytes">About how many bytes validation gets at most.</param>
    /// <exception cref="DataException">A path is missing, nothing is text, or there is too little text.</exception>
    public static CorpusResult Load(
        IReadOnlyList<string> pathsOrGlobs, long minimumBytes, long validationBytes = DefaultValidationBytes)
    {
        ArgumentNullException.ThrowIfNull(pathsOrGlobs);
        ArgumentOutOfRangeException.ThrowIfLessThan(minimumBytes, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(validationBytes, 1);
        List<string> files = FileFinder.Find(pathsOrGlobs);
        var read = new List<string>();
        var skipped = new List<SkippedFile>();
        using var text = new MemoryStream();
        foreach (string file in files)
        {
            ReadFile(file, text, read, skipped);
        }

        if (read.Count == 0)
        {
            throw new DataException(files.Count == 0
                ? $"There are no files in {string.Join(", ", pathsOrGlobs)}; give a folder with text files."
                : $"None of the {files.Count} files found is text ({Examples(skipped)}); give UTF-8 text files.");
        }

        ReadOnlySpan<byte> bytes = text.GetBuffer().AsSpan(0, (int)text.Length);
        (byte[] train, byte[] validation) = Split(bytes, minimumBytes, validationBytes, read.Count, skipped);
        return new CorpusResult(train, validation, read, skipped, Convert.ToHexStringLower(SHA256.HashData(bytes)));
    }

    /// <summary>Whether bytes look like something other than text: a NUL byte, or more than 30 % that is not UTF-8.</summary>
    public static bool IsBinary(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Contains((byte)0))
        {
            return true;
        }

        if (Utf8.IsValid(bytes))
        {
            return false;
        }

        long invalid = 0;
        for (ReadOnlySpan<byte> rest = bytes; !rest.IsEmpty;)
        {
            bool valid = Rune.DecodeFromUtf8(rest, out _, out int used) == System.Buffers.OperationStatus.Done;
            invalid += valid ? 0 : used;
            rest = rest[used..];
        }

        return invalid > LargestInvalidShare * bytes.Length;
    }

    private static void ReadFile(string file, MemoryStream text, List<string> read, List<SkippedFile> skipped)
    {
        byte[] content;
        try
        {
            if (new FileInfo(file).Length + text.Length > MaximumBytes)
            {
                throw new DataException($"The text is larger than {MaximumBytes} bytes with {file}; give fewer files.");
            }

            content = File.ReadAllBytes(file);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new DataException($"{file} cannot be read: {error.Message}", error);
        }

        ReadOnlySpan<byte> bytes = content;
        bytes = bytes.StartsWith(Encoding.UTF8.Preamble) ? bytes[Encoding.UTF8.Preamble.Length..] : bytes;
        if (bytes.IsEmpty || IsBinary(bytes))
        {
            skipped.Add(new SkippedFile(file, bytes.IsEmpty ? "empty" : "binary"));
            return;
        }

        read.Add(file);
        text.Write(bytes);
        if (bytes[^1] != (byte)'\n')
        {
            text.WriteByte((byte)'\n');
        }
    }

    private static (byte[] Train, byte[] Validation) Split(
        ReadOnlySpan<byte> text, long minimum, long validationBytes, int files, List<SkippedFile> skipped)
    {
        // With four windows of text, two blocks of at least one window each always come out of Cut.
        long needed = checked(4 * minimum);
        if (text.Length < needed)
        {
            string others = skipped.Count == 0 ? string.Empty : $"; {skipped.Count} more were skipped ({Examples(skipped)})";
            throw new DataException(string.Create(
                CultureInfo.InvariantCulture,
                $"There are {text.Length} bytes of text in {files} {(files == 1 ? "file" : "files")}{others}, a context of {minimum - 1} bytes needs at least {needed}; give more text or use a shorter context."));
        }

        List<Range> blocks = Cut(text, (int)Math.Max(minimum, Math.Min(BlockBytes, text.Length / 10)));
        long distance = Math.Max(10, (text.Length + validationBytes - 1) / validationBytes);
        int every = (int)Math.Clamp(distance, 2, blocks.Count);
        using var train = new MemoryStream();
        using var validation = new MemoryStream();
        for (int i = 0; i < blocks.Count; i++)
        {
            (i % every == every - 1 ? validation : train).Write(text[blocks[i]]);
        }

        return (train.ToArray(), validation.ToArray());
    }

    private static List<Range> Cut(ReadOnlySpan<byte> text, int size)
    {
        var blocks = new List<Range>();
        int start = 0;
        while (text.Length - start >= 2 * size)
        {
            // The next line end, but no further than one more block away.
            int lineEnd = text.Slice(start + size - 1, size).IndexOf((byte)'\n');
            int end = lineEnd < 0 ? start + size : start + size + lineEnd;
            blocks.Add(start..end);
            start = end;
        }

        if (text.Length - start >= size)
        {
            blocks.Add(start..text.Length);
        }
        else
        {
            blocks[^1] = blocks[^1].Start..text.Length;
        }

        return blocks;
    }

    private static string Examples(List<SkippedFile> skipped)
    {
        IEnumerable<string> shown = skipped.Take(3).Select(file => $"{Path.GetFileName(file.Path)}: {file.Reason}");
        return string.Join(", ", shown) + (skipped.Count > 3 ? ", ..." : string.Empty);
    }
}
