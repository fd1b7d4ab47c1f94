using System.Text.RegularExpressions;
using MoeSharp.Cuda;
using Xunit;

namespace MoeSharp.Kernels.Tests;

/// <summary>Every kernel through the real compiler and assembler, for every architecture.</summary>
public sealed partial class CompileTests(KernelBuilds builds)
{
    /// <summary>All keys by name.</summary>
    public static TheoryData<string> Keys { get; } = [.. KernelCatalog.All.Select(key => key.ToString())];

    [Theory]
    [MemberData(nameof(Keys))]
    public async Task Compiles_WithoutWarnings_Spills_OrLocalMemory(string name)
    {
        RealNvrtc.Require();
        KernelKey key = KernelCatalog.All.Single(candidate => candidate.ToString() == name);
        foreach (string architecture in KernelBuilds.Architectures)
        {
            KernelBuild build = await builds.Get(key with { Architecture = architecture });
            Assert.True(build.Bytes > 0, build.Log);
            Assert.False(Complaint().IsMatch(build.Log), $"{build.Key}:\n{build.Log}");
            Assert.NotEmpty(build.Entries);
            foreach (EntryResources entry in build.Entries)
            {
                Assert.True(
                    entry is { SpillStores: 0, SpillLoads: 0 },
                    $"{build.Key}: {entry.Entry} spills registers: {entry.SpillStores} bytes of stores, {entry.SpillLoads} of loads. Use fewer per thread: smaller tiles, or more threads.");
                Assert.True(
                    entry.StackFrame == 0,
                    $"{build.Key}: {entry.Entry} has {entry.StackFrame} bytes of local memory. A register array is indexed by a value that is not known at compile time, or a library function has a slow path.");
                Assert.True(entry.StaticShared == 0, $"{build.Key}: {entry.Entry} has {entry.StaticShared} bytes of static shared memory; the launch checks dynamic shared memory only.");
            }
        }
    }

    [Fact]
    public void AMistakeInAKernel_IsReportedWithItsLine()
    {
        RealNvrtc.Require();
        var key = new KernelKey("moe/mistake.cu", "FLOAT_BF16=0", "sm_80");
        const string Text = "extern \"C\" __global__ void mistake(float* y)\n{\n    y[0] = undeclared_name;\n}\n";
        KernelCompileException error = Assert.Throws<KernelCompileException>(() => KernelCompiler.Compile(key, Text, out _));
        Assert.Contains("moe/mistake.cu [FLOAT_BF16=0] for sm_80", error.Message, StringComparison.Ordinal);
        Assert.Contains("moe/mistake.cu(3): error: identifier \"undeclared_name\" is undefined", error.Message, StringComparison.Ordinal);
        Assert.Contains("y[0] = undeclared_name;", error.Message, StringComparison.Ordinal);
        Assert.Same(key, error.Key);
    }

    [Fact]
    public void ResourcesInALog_AreRead()
    {
        const string Log = """
            ptxas info    : 76 bytes gmem, 152 bytes cmem[4]
            ptxas info    : Compiling entry function 'first' for 'sm_80'
            ptxas info    : Function properties for first
            ptxas         .     16 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
            ptxas info    : Used 54 registers, 1024 bytes smem, 464 bytes cmem[0]
            ptxas info    : Compiling entry function 'second' for 'sm_90a'
            ptxas info    : Function properties for second
            ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
            ptxas info    : Used 255 registers
            """;
        Assert.Equal([new("first", 54, 16, 8, 12, 1024), new EntryResources("second", 255, 0, 0, 0, 0)], EntryResources.Parse(Log));
    }

    /// <summary>Warnings of compiler or assembler, and the remark that warp-group products wait for each other.</summary>
    [GeneratedRegex(@"\bwarning\b|serialized", RegexOptions.IgnoreCase)]
    private static partial Regex Complaint();
}
