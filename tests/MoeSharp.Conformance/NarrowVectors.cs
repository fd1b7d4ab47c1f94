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
    private static readonly Type[] s_rules = [typeof(GemmOnCpu), typeof(ExpertOnCpu), typeof(AttentionOnCpu), typeof(DenseOnCpu), typeof(ElementwiseOnCpu), typeof(GemmDeterminism), typeof(GemmOnCpu16), typeof(ExpertOnCpu16), typeof(RowsAloneOnCpu), typeof(RowsAloneOnCpu16)];

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

        await ChildSuite.RunAsync(s_rules, new Dictionary<string, string> { [withoutWhat] = "0", [Expected] = $"{bits}" }, $"{bits}-bit vectors");
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
