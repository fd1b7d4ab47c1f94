using System.Text;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

public sealed class TokenClassifierTests
{
    [Theory]
    [InlineData("ab_9", "LLLD")]
    [InlineData("  x y\n\tz", "IILWLEIL")]
    [InlineData("a \r\n \n", "LWEEIE")]
    [InlineData("(+)\u0001", "PPPP")]
    [InlineData("ä世", "LLLLL")]
    [InlineData("", "")]
    public void Classify_NamesEveryByte(string text, string expected)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        var classes = new TokenClass[bytes.Length];
        TokenClassifier.Classify(bytes, classes);
        Assert.Equal(expected, string.Concat(classes.Select(Letter)));
    }

    [Fact]
    public void Classify_RefusesAnotherLength() =>
        Assert.Throws<ArgumentException>(() => TokenClassifier.Classify("ab"u8, new TokenClass[1]));

    [Fact]
    public void ClassCount_IsThatOfTheEnumeration() => Assert.Equal(TokenClassifier.ClassCount, Enum.GetValues<TokenClass>().Length);

    private static char Letter(TokenClass kind) => kind switch
    {
        TokenClass.Letter => 'L',
        TokenClass.Digit => 'D',
        TokenClass.Punctuation => 'P',
        TokenClass.WhiteSpace => 'W',
        TokenClass.Indentation => 'I',
        _ => 'E',
    };
}
