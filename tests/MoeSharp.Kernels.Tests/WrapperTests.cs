using System.Text.RegularExpressions;
using MoeSharp.Cuda;
using Xunit;

namespace MoeSharp.Kernels.Tests;

/// <summary>The wrappers of instructions: the real compiler takes every one, and the emulator has the same.</summary>
public sealed partial class WrapperTests
{
    private static readonly string s_emulator = Path.Combine(RealNvrtc.Root, "tests", "emulator");

    /// <summary>The emulator's kernels that use instructions of compute capability 9.0.</summary>
    public static TheoryData<string> Kernels { get; } =
    [
        .. ((string[])["hopper", "correct"])
            .SelectMany(folder => Directory.EnumerateFiles(Path.Combine(s_emulator, folder), "*.cu"))
            .Where(file => File.ReadAllText(file).Contains("#include", StringComparison.Ordinal))
            .Select(file => Path.GetRelativePath(s_emulator, file))
            .Order(StringComparer.Ordinal),
    ];

    [Theory]
    [MemberData(nameof(Kernels))]
    public void KernelsOfTheEmulator_CompileForTheDevice(string file)
    {
        RealNvrtc.Require();
        string log = string.Empty;
        byte[] code = KernelCompiler.Compile(new KernelKey(file, "FLOAT_BF16=1", "sm_90a"), File.ReadAllText(Path.Combine(s_emulator, file)), out log);
        Assert.NotEmpty(code);
        Assert.DoesNotContain("warning", log, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("serialized", log, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public void EveryWrapper_IsUsedByAKernelHere()
    {
        string text = string.Concat(Directory.EnumerateFiles(s_emulator, "*.cu", SearchOption.AllDirectories).Select(File.ReadAllText))
            + string.Concat(KernelSources.Files.Concat(KernelSources.Headers.Names.Except(Replaced)).Select(KernelSources.Text));
        foreach (string name in Replaced.SelectMany(header => Names(KernelSources.Text(header))).Distinct())
        {
            Assert.True(Regex.IsMatch(text, $@"\b{name}\b"), $"{name} of the wrappers is used by no kernel: nothing shows that the compiler takes it.");
        }
    }

    [Theory]
    [InlineData("common/ptx.cuh")]
    [InlineData("common/hopper.cuh")]
    [InlineData("common/wgmma.cuh")]
    public void TheEmulatorsHeader_HasTheSameFunctions(string header) =>
        Assert.Equal(Names(KernelSources.Text(header)), Names(File.ReadAllText(Path.Combine(s_emulator, Path.GetFileName(header)))));

    private static string[] Replaced => ["common/ptx.cuh", "common/hopper.cuh", "common/wgmma.cuh"];

    /// <summary>Names of the functions that a header defines, those that begin with "emu_" aside.</summary>
    private static string[] Names(string text) =>
        [.. Function().Matches(text).Select(match => match.Groups["name"].Value).Where(name => !name.StartsWith("emu_", StringComparison.Ordinal)).Distinct().Order(StringComparer.Ordinal)];

    [GeneratedRegex(@"^(?:template <[^\n]*>\s*)?(?:__device__ __forceinline__|inline) [\w ]+?[ *&]+(?<name>\w+)\(", RegexOptions.Multiline)]
    private static partial Regex Function();
}
