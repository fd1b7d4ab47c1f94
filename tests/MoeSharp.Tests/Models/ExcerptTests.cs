using System.Text;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

public sealed class ExcerptTests
{
    [Fact]
    public void Of_ALongText_IsWholeLinesFromItsMiddle()
    {
        string text = string.Concat(Enumerable.Range(100, 200).Select(i => $"line {i}\n"));
        string excerpt = Encoding.UTF8.GetString(Excerpt.Of(Encoding.UTF8.GetBytes(text), 95));
        Assert.Equal(string.Concat(Enumerable.Range(195, 10).Select(i => $"line {i}\n")), excerpt);
    }

    [Fact]
    public void Of_AShortText_IsTheText() => Assert.Equal("a\nb"u8, Excerpt.Of("a\nb"u8, 100));

    [Fact]
    public void Of_ATextWithoutLines_BeginsWithAWholeCharacter()
    {
        byte[] excerpt = Excerpt.Of(Encoding.UTF8.GetBytes(new string('\u20ac', 100)), 50);
        Assert.InRange(excerpt.Length, 48, 50);
        Assert.StartsWith("\u20ac", Encoding.UTF8.GetString(excerpt), StringComparison.Ordinal);
    }

    [Fact]
    public void Of_NothingButLineEnds_IsNotEmpty() => Assert.NotEmpty(Excerpt.Of(Encoding.UTF8.GetBytes(new string('\n', 100)), 10));
}
