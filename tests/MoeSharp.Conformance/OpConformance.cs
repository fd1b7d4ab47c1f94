using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>Every op of a family against the double-precision oracle, within bounds that follow from float32 arithmetic and bfloat16 storage.</summary>
public abstract class OpConformance<TCatalog>(Backend subject) : ContractConformance<TCatalog>(subject)
    where TCatalog : ICatalog
{
    [Theory]
    [MemberData(nameof(Names))]
    public void Results_AreTheOracles_UpToRounding(string name)
    {
        OpCase op = Case(name).For(Subject.FloatType);
        OpRun expected = op.RunOnReference(), actual = op.RunOn(Subject, Poison.Loud);
        Dictionary<string, double[]> bounds = op.Bounds(expected);
        foreach (OpTensor output in op.Outputs)
        {
            double[]? bound = bounds.GetValueOrDefault(output.Name);
            Compare(name, output.Name, expected[output.Name], actual[output.Name], bound, output.TypeOn(Subject) == DType.BFloat16);
        }
    }

    private static void Compare(string op, string output, double[] expected, double[] actual, double[]? bound, bool narrow)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            double allowed = bound?[i] ?? 0;
            Assert.True(
                Tolerance.Allows(expected[i], actual[i], allowed, narrow),
                $"{op}: {output}[{i}] is {actual[i]:R}, the oracle says {expected[i]:R}; off by {Math.Abs(expected[i] - actual[i]):E2}, allowed {allowed:E2}{(narrow ? " before it is rounded to bfloat16" : string.Empty)}.");
        }
    }
}
