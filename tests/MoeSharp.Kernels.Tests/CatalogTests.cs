using System.Text.RegularExpressions;
using MoeSharp.Cuda;
using Xunit;

namespace MoeSharp.Kernels.Tests;

/// <summary>The list of kernels against the files that are there.</summary>
public sealed partial class CatalogTests
{
    [Fact]
    public void EveryKernelFile_IsInTheCatalog_AndEveryKeyHasAFile() =>
        Assert.Equal(KernelSources.Files, KernelCatalog.All.Select(key => key.File).Distinct().Order(StringComparer.Ordinal));

    [Fact]
    public void EveryFile_ComesInBothFloatTypes()
    {
        foreach (IGrouping<string, KernelKey> file in KernelCatalog.All.GroupBy(key => key.File))
        {
            foreach (int bf16 in (int[])[0, 1])
            {
                Assert.True(file.Any(key => key.Constants.Split(' ').Contains($"{KernelCatalog.FloatConstant}={bf16}")), $"{file.Key} has no key with {KernelCatalog.FloatConstant}={bf16}.");
            }
        }
    }

    [Fact]
    public void InlineAssembly_StandsInOneFolder_AndSharedMemoryIsDynamic()
    {
        foreach (string file in KernelSources.Files.Concat(KernelSources.Headers.Names))
        {
            string text = Comment().Replace(KernelSources.Text(file), string.Empty);
            Assert.True(file.StartsWith("common/", StringComparison.Ordinal) || !Assembly().IsMatch(text), $"{file} has inline assembly; the wrappers in common/ are there for it.");
            Assert.False(StaticShared().IsMatch(text), $"{file} declares shared memory of a fixed size; DYNAMIC_SHARED is the only kind.");
            Assert.False(FloatAtomic().IsMatch(text), $"{file} adds floats atomically, which gives other bits in every run.");
        }
    }

    [GeneratedRegex(@"//[^\n]*|/\*.*?\*/", RegexOptions.Singleline)]
    private static partial Regex Comment();

    [GeneratedRegex(@"\basm\b|\b__asm__\b")]
    private static partial Regex Assembly();

    [GeneratedRegex(@"__shared__\s+(?!__align__)[^;]*\[\s*\w[^\]]*\]")]
    private static partial Regex StaticShared();

    [GeneratedRegex(@"atomicAdd\s*\(\s*\((float|double|Float)|\bred\.\w*\.?add\.f")]
    private static partial Regex FloatAtomic();
}
