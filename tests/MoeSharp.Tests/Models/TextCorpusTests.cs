using System.Text;
using MoeSharp.Core;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

public sealed class TextCorpusTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Load_OfAMissingPath_SaysWhich() =>
        Assert.Contains("nowhere.txt", Refusal(_folder["nowhere.txt"]), StringComparison.Ordinal);

    [Fact]
    public void Load_OfAnEmptyFolder_SaysSo()
    {
        Directory.CreateDirectory(_folder["empty"]);
        Assert.Contains("no files", Refusal(_folder["empty"]), StringComparison.Ordinal);
    }

    [Fact]
    public void Load_WithoutPaths_SaysWhatToGive() =>
        Assert.Contains("globs", Assert.Throws<DataException>(() => TextCorpus.Load([], 10)).Message, StringComparison.Ordinal);

    [Fact]
    public void Load_OfBinaryFilesOnly_NamesThem()
    {
        _folder.Write("a.bin", [1, 2, 0, 3]);
        _folder.Write("b.jpg", [0xFF, 0xD8, 0xFF, 0xE0, 0x80, 0x81]);
        string message = Refusal(_folder.Root);
        Assert.Contains("a.bin: binary", message, StringComparison.Ordinal);
        Assert.Contains("b.jpg: binary", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_OfThreeBytes_GivesTheNumbers()
    {
        _folder.Write("tiny.txt", "ab");
        string message = Assert.Throws<DataException>(() => TextCorpus.Load([_folder.Root], 33)).Message;
        Assert.Contains("3 bytes", message, StringComparison.Ordinal);
        Assert.Contains("132", message, StringComparison.Ordinal);
        Assert.Contains("context of 32", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Load_OfAGlobWithoutMatch_SaysSo() =>
        Assert.Contains("matches no file", Refusal(_folder["*.md"]), StringComparison.Ordinal);

    [Fact]
    public void Load_ReadsFoldersSortedAndSkipsHiddenAndBuildFolders()
    {
        string text = Samples.Program(20);
        foreach (string name in (string[])["b/z.txt", "b/a.txt", "a.txt", ".git/x.txt", "bin/x.txt", "q/obj/x.txt", ".artifacts/x.txt"])
        {
            _folder.Write(name, text);
        }

        _folder.Write("b/data.bin", [0]);
        _folder.Write("b/none.txt", string.Empty);
        CorpusResult corpus = TextCorpus.Load([_folder.Root], 10);
        Assert.Equal([_folder["a.txt"], _folder["b/a.txt"], _folder["b/z.txt"]], corpus.Files);
        Assert.Equal([(_folder["b/data.bin"], "binary"), (_folder["b/none.txt"], "empty")], corpus.Skipped.Select(file => (file.Path, file.Reason)));
    }

    [Theory]
    [InlineData("*.md", "top.md")]
    [InlineData("**/*.md", "docs/deep/c.md,docs/b.md,top.md")]
    [InlineData("docs/*.??", "docs/b.md,docs/d.cs")]
    [InlineData("docs/**", "docs/b.md,docs/d.cs,docs/deep/c.md")]
    [InlineData("d*/deep/c.*", "docs/deep/c.md")]
    public void Load_ExpandsGlobs(string glob, string expected)
    {
        foreach (string name in (string[])["top.md", "docs/b.md", "docs/d.cs", "docs/deep/c.md"])
        {
            _folder.Write(name, Samples.Program(20));
        }

        CorpusResult corpus = TextCorpus.Load([_folder[glob]], 10);
        Assert.Equal(expected.Split(',').Select(name => _folder[name]).Order(StringComparer.Ordinal), corpus.Files);
    }

    [Fact]
    public void Load_ReadsAFileOnceHoweverOftenItIsNamed()
    {
        string path = _folder.Write("a.txt", Samples.Program(20));
        Assert.Equal([path], TextCorpus.Load([path, _folder.Root, _folder["*.txt"]], 10).Files);
    }

    [Fact]
    public void Load_PutsEveryByteIntoExactlyOnePart()
    {
        string text = string.Concat(Enumerable.Range(0, 9000).Select(i => $"line {i:D6}\n"));
        _folder.Write("a.txt", text);
        CorpusResult corpus = TextCorpus.Load([_folder.Root], 100);
        Assert.Equal(text.Length, corpus.TotalBytes);
        string[] lines = [.. Encoding.UTF8.GetString(corpus.Train).Split('\n'), .. Encoding.UTF8.GetString(corpus.Validation).Split('\n')];
        Assert.Equal(text.Split('\n').Order(), lines.Where(line => line.Length > 0).Append(string.Empty).Order());
        Assert.InRange(corpus.Validation.Length, text.Length / 20, text.Length / 5);
    }

    [Fact]
    public void Load_TakesValidationFromEveryRegion()
    {
        _folder.Write("a.txt", string.Concat(Enumerable.Range(0, 40000).Select(i => $"{i / 10000} {i:D6}\n")));
        CorpusResult corpus = TextCorpus.Load([_folder.Root], 100);
        string validation = Encoding.UTF8.GetString(corpus.Validation);
        Assert.All("0123", digit => Assert.Contains($"\n{digit} ", validation, StringComparison.Ordinal));
    }

    [Fact]
    public void Load_KeepsValidationNearItsWantedSize()
    {
        _folder.Write("a.txt", Samples.Program(40000));
        CorpusResult corpus = TextCorpus.Load([_folder.Root], 100, validationBytes: 20000);
        Assert.InRange(corpus.Validation.Length, 10000, 30000);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(100)]
    [InlineData(5000)]
    public void Load_OfTheLeastTextThatIsEnough_GivesBothPartsAWindow(int extra)
    {
        foreach (string newLines in (string[])["\n", "a", "aaaaaaaaaaaa\n"])
        {
            string text = string.Concat(Enumerable.Repeat(newLines, 400 + extra))[..(400 + extra)];
            CorpusResult corpus = TextCorpus.Load([_folder.Write("least.txt", text)], 100);
            Assert.True(corpus.Train.Length >= 100 && corpus.Validation.Length >= 100, $"{corpus.Train.Length} and {corpus.Validation.Length}");
        }
    }

    [Fact]
    public void Load_HashesTheContent()
    {
        string path = _folder.Write("a.txt", Samples.Program(20));
        string first = TextCorpus.Load([path], 10).Sha256;
        Assert.Equal(first, TextCorpus.Load([path], 10).Sha256);
        _folder.Write("a.txt", Samples.Program(20).Replace("alpha", "alphb", StringComparison.Ordinal));
        Assert.NotEqual(first, TextCorpus.Load([path], 10).Sha256);
    }

    [Theory]
    [InlineData("plain", false)]
    [InlineData("Grüße, 世界", false)]
    [InlineData("nul\0byte", true)]
    public void IsBinary_JudgesText(string text, bool expected) => Assert.Equal(expected, TextCorpus.IsBinary(Encoding.UTF8.GetBytes(text)));

    [Theory]
    [InlineData(7, 3, false)]
    [InlineData(6, 4, true)]
    public void IsBinary_AllowsThirtyPercentInvalidBytes(int valid, int invalid, bool expected) =>
        Assert.Equal(expected, TextCorpus.IsBinary([.. Enumerable.Repeat((byte)'a', valid), .. Enumerable.Repeat((byte)0xFF, invalid)]));

    private static string Refusal(string path) => Assert.Throws<DataException>(() => TextCorpus.Load([path], 10)).Message;
}
