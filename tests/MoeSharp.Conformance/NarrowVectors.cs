using System.Diagnostics;
using System.Runtime.Intrinsics;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>The CPU backend on processors with narrower vectors than this one's: the same rules, in a process where the wider ones are switched off.</summary>
/// <remarks>
/// The problem: which instructions a process may use is settled when it starts, and the paths for older processors would otherwise run on nobody's
/// machine until a user has one. The choice: this suite starts itself again with the runtime's own switches, and checks that they did what they say.
/// </remarks>
public sealed class NarrowVectors
{
    /// <summary>Set for the child: the vector width in bits that it must find.</summary>
    private const string Expected = "MOESHARP_TEST_VECTOR_BITS";

    /// <summary>Ops whose code depends on the width.</summary>
    private static readonly Type[] s_rules = [typeof(GemmOnCpu), typeof(ExpertOnCpu), typeof(AttentionOnCpu), typeof(DenseOnCpu), typeof(ElementwiseOnCpu), typeof(GemmDeterminism), typeof(GemmOnCpu16), typeof(ExpertOnCpu16)];

    /// <summary>Widest vector that the processor is used with, in bits.</summary>
    private static int Bits => Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128;

    [Theory]
    [InlineData("DOTNET_EnableAVX512", 256)]
    [InlineData("DOTNET_EnableAVX2", 128)]
    public async Task Rules_HoldWithoutTheWiderVectors(string withoutWhat, int bits)
    {
        if (Bits <= bits)
        {
            return; // this process runs them by itself
        }

        string program = Environment.ProcessPath!;
        string[] self = Path.GetFileNameWithoutExtension(program) == "dotnet" ? [typeof(NarrowVectors).Assembly.Location] : [];
        var start = new ProcessStartInfo(program, [.. self, .. s_rules.SelectMany(rule => (string[])["--filter-class", rule.FullName!])])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment[withoutWhat] = "0";
        start.Environment[Expected] = $"{bits}";
        foreach (string variable in start.Environment.Keys.Where(name => name.StartsWith("TESTINGPLATFORM_", StringComparison.Ordinal)).ToArray())
        {
            start.Environment.Remove(variable); // what ties this process to the program that started it
        }

        CancellationToken stop = TestContext.Current.CancellationToken;
        using Process child = Process.Start(start)!;
        Task<string> output = child.StandardOutput.ReadToEndAsync(stop), error = child.StandardError.ReadToEndAsync(stop);
        await child.WaitForExitAsync(stop).WaitAsync(TimeSpan.FromMinutes(5), stop);
        string[] failures = [.. (await output).Split('\n').Where(line => line.StartsWith("failed", StringComparison.Ordinal)).Take(5)];
        Assert.True(child.ExitCode == 0, $"With {bits}-bit vectors: {string.Join("; ", failures)} {await error}");
    }

    /// <summary>Called before anything is computed: a child whose switch did nothing must not pass for one that ran narrow.</summary>
    internal static void Check()
    {
        if (Environment.GetEnvironmentVariable(Expected) is { } expected && expected != $"{Bits}")
        {
            throw new InvalidOperationException($"This process should run with {expected}-bit vectors, and has {Bits}.");
        }
    }
}
