using Xunit;

namespace MoeSharp.Tests;

/// <summary>Files stay small. A longer one must say why in its first lines, with the words "longer than usual because".</summary>
public sealed class FileSizeTests
{
    private const int MostLines = 400;

    [Theory]
    [InlineData("src")]
    [InlineData("tests")]
    [InlineData("bench")]
    public void Files_StayBelowTheBudgetOrSayWhy(string folder)
    {
        foreach (string path in Repository.Files(folder, "*.cs"))
        {
            string[] lines = File.ReadAllLines(path);
            bool excused = lines.Take(40).Any(line => line.Contains("longer than usual because", StringComparison.Ordinal));
            Assert.True(lines.Length <= MostLines || excused, $"{path} has {lines.Length} lines, the budget is {MostLines}.");
        }
    }

    [Fact]
    public void Files_HaveOneKindOfLineEnd()
    {
        foreach (string path in Repository.Files("src", "*.cs").Concat(Repository.Files("tests", "*.cs")))
        {
            Assert.DoesNotContain('\r', File.ReadAllText(path));
        }
    }
}
