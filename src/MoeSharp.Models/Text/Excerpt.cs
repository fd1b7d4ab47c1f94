namespace MoeSharp.Models;

/// <summary>A piece of a text that shows what the text is like.</summary>
public static class Excerpt
{
    /// <summary>Whole lines from the middle of a text, where it has lines; else what stands in its middle.</summary>
    /// <param name="text">The text.</param>
    /// <param name="length">Most bytes of the excerpt.</param>
    /// <returns>At least one byte of a text that has one.</returns>
    public static byte[] Of(ReadOnlySpan<byte> text, int length)
    {
        int start = Math.Max(0, (text.Length - length) / 2);
        if (start > 0)
        {
            // Behind the next line end; without one near by, at the next first byte of a UTF-8 character.
            int line = text.Slice(start, Math.Min(length / 2, text.Length - start)).IndexOf((byte)'\n');
            start += line + 1;
            for (int i = 0; line < 0 && i < 3 && start < text.Length && (text[start] & 0xc0) == 0x80; i++)
            {
                start++;
            }
        }

        ReadOnlySpan<byte> piece = text.Slice(start, Math.Min(length, text.Length - start));
        int last = start + piece.Length == text.Length ? -1 : piece.LastIndexOf((byte)'\n');
        return piece[..(last >= piece.Length / 2 ? last + 1 : piece.Length)].ToArray();
    }
}
