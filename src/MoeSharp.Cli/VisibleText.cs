using System.Globalization;
using System.Text;

namespace MoeSharp.Cli;

/// <summary>Characters as a reader can see them: what has no shape, or would change the shape of its neighbours, is shown by a sign.</summary>
internal static class VisibleText
{
    /// <summary>A character; line feeds and tabs keep their effect behind their sign.</summary>
    public static string Of(Rune rune) => rune.Value switch
    {
        '\n' => "\u21B5\n",
        '\t' => "\u2192\t",
        < ' ' => ((char)(0x2400 + rune.Value)).ToString(),
        0x7f => "\u2421",
        _ when HasNoShape(rune) => $"\u2039U+{rune.Value:X4}\u203A",
        _ => rune.ToString(),
    };

    /// <summary>A byte that is part of no UTF-8 character.</summary>
    public static string Of(byte value) => $"\u2039{value:X2}\u203A";

    private static bool HasNoShape(Rune rune) => Rune.GetUnicodeCategory(rune)
        is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
        or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned;
}
