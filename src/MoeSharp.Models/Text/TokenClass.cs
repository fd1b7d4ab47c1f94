namespace MoeSharp.Models;

/// <summary>What kind of text a byte is part of; used to see where a router spends compute.</summary>
public enum TokenClass
{
    /// <summary>Letters: ASCII letters, underscore, and every byte of a multi-byte UTF-8 character.</summary>
    Letter,

    /// <summary>ASCII digits.</summary>
    Digit,

    /// <summary>Everything else that is visible, and control characters.</summary>
    Punctuation,

    /// <summary>Blanks and tabs inside a line or at its end.</summary>
    WhiteSpace,

    /// <summary>Blanks and tabs at the start of a line.</summary>
    Indentation,

    /// <summary>Line feeds and carriage returns.</summary>
    LineEnd,
}
