using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Sorts the bytes of a text into <see cref="TokenClass"/>es in one pass.</summary>
public static class TokenClassifier
{
    /// <summary>Number of classes.</summary>
    public const int ClassCount = 6;

    /// <summary>Classifies every byte. The text is taken to start at the start of a line.</summary>
    /// <param name="text">UTF-8 text; invalid bytes count as letters.</param>
    /// <param name="classes">Receives one class per byte; as long as the text.</param>
    /// <exception cref="ArgumentException">The lengths differ.</exception>
    public static void Classify(ReadOnlySpan<byte> text, Span<TokenClass> classes)
    {
        Guard.That(text.Length == classes.Length, $"There are {text.Length} bytes but room for {classes.Length} classes.");
        bool lineStart = true;
        for (int i = 0; i < text.Length; i++)
        {
            byte b = text[i];
            if (b is (byte)'\n' or (byte)'\r')
            {
                classes[i] = TokenClass.LineEnd;
                lineStart = true;
            }
            else if (b is (byte)' ' or (byte)'\t')
            {
                classes[i] = lineStart ? TokenClass.Indentation : TokenClass.WhiteSpace;
            }
            else
            {
                lineStart = false;
                classes[i] = char.IsAsciiLetter((char)b) || b == (byte)'_' || b >= 0x80 ? TokenClass.Letter
                    : char.IsAsciiDigit((char)b) ? TokenClass.Digit
                    : TokenClass.Punctuation;
            }
        }
    }
}
