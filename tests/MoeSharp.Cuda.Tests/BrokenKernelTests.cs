using System.Diagnostics;
using System.Text.RegularExpressions;
using MoeSharp.Emulator;
using Xunit;

namespace MoeSharp.Cuda.Tests;

/// <summary>
/// The emulator finds what it is for: each small kernel with one mistake is reported as what it is, with the place, and each of the same kernels
/// without the mistake passes in silence. What no such kernel proves, the emulator does not check.
/// </summary>
/// <remarks>Every kernel runs in a process of its own, under several schedules: a race that shows under one order of threads only is no proof.</remarks>
public sealed partial class BrokenKernelTests
{
    private static readonly string s_folder = Path.Combine(EmulatorBuild.Root, "tests", "emulator");

    /// <summary>Kernels with a mistake.</summary>
    public static TheoryData<string> Broken { get; } = Files("broken");

    /// <summary>Kernels without one: the same ones mended, and layouts checked byte for byte.</summary>
    public static TheoryData<string> Correct { get; } = [.. Files("correct"), .. Files("hopper")];

    [Theory]
    [MemberData(nameof(Broken))]
    public void AMistake_IsReported_WithKernelLineBlockAndThread(string file)
    {
        Assert.NotEqual("silence", Expected(file));
        (string output, string[] reports) = Run(file);
        Assert.StartsWith($"ok {Full(file)}", output, StringComparison.Ordinal);
        Assert.NotEmpty(reports);
        string[] kinds = Expected(file).Split(" or ");
        string line = Path.GetFileName(file) + ":";
        Assert.All(reports, report =>
        {
            Match match = Report().Match(report);
            Assert.True(match.Success, $"Not a report: {report}");
            Assert.Contains(match.Groups["kind"].Value, kinds);
            Assert.Contains(line, report, StringComparison.Ordinal);
        });
    }

    [Theory]
    [MemberData(nameof(Correct))]
    public void AKernelWithoutAMistake_PassesInSilence(string file)
    {
        Assert.Equal("silence", Expected(file));
        (string output, string[] reports) = Run(file);
        Assert.Empty(reports);
        Assert.StartsWith($"ok {Full(file)}", output, StringComparison.Ordinal);
    }

    [Fact]
    public void EveryMistake_HasItsMendedKernel() =>
        Assert.Equal(Files("broken").Select(row => Path.GetFileName(row.Data)), Files("correct").Select(row => Path.GetFileName(row.Data)));

    private static TheoryData<string> Files(string folder) =>
        [.. Directory.EnumerateFiles(Path.Combine(s_folder, folder), "*.cu").Select(path => $"{folder}/{Path.GetFileName(path)}").Order(StringComparer.Ordinal)];

    private static string Full(string file) => Path.Combine(s_folder, file);

    private static string Expected(string file) => File.ReadLines(Full(file)).First()["// expects: ".Length..];

    /// <summary>What a run prints, and the reports on its way.</summary>
    private static (string Output, string[] Reports) Run(string file)
    {
        _ = Emulated.Host;
        string library = EmulatorBuild.Library!;
        var start = new ProcessStartInfo(Path.Combine(Path.GetDirectoryName(library)!, "selftest"), [library, Path.Combine(EmulatorBuild.Root, "kernels"), "0", "1", "2", "3", "--", Full(file)])
        {
            RedirectStandardOutput = true, RedirectStandardError = true,
        };
        using Process process = Process.Start(start)!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (output + errors.GetAwaiter().GetResult(), [.. errors.GetAwaiter().GetResult().Split('\n', StringSplitOptions.RemoveEmptyEntries)]);
    }

    [GeneratedRegex(@"^emulator: (?<kind>[\w-]+): kernel kernel.* block \(\d+,\d+,\d+\) thread \(\d+,\d+,\d+\)")]
    private static partial Regex Report();
}
