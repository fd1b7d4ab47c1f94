using MoeSharp.Core;
using MoeSharp.Cpu;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>Products of bfloat16 by each instruction set that this machine has: the best one in this process, the others in processes where they are forced.</summary>
public sealed class ForcedIsas(BackendPool pool)
{
    private static readonly Type[] s_rules =
    [
        typeof(GemmOnCpu16), typeof(ExpertOnCpu16), typeof(CombineOnCpu16), typeof(AttentionOnCpu16), typeof(DenseOnCpu16), typeof(NullInvarianceOnCpu16),
        typeof(GemmDeterminism16), typeof(ExpertDeterminism16),
    ];

    [Theory]
    [InlineData("amx")]
    [InlineData("avx512_bf16")]
    public async Task Rules_HoldOnEveryInstructionSet(string name)
    {
        CpuIsa isa = Here(name);
        if (((CpuBackend)pool.Cpu16).Isa == isa)
        {
            return; // this process runs them by itself
        }

        await ChildSuite.RunAsync(s_rules, new Dictionary<string, string> { [CpuIsas.Variable] = name }, name);
    }

    [Theory]
    [InlineData("simd", CpuIsa.Simd)]
    [InlineData("AVX512_BF16 ", CpuIsa.Avx512BFloat16)]
    [InlineData("amx", CpuIsa.Amx)]
    public void Name_ForcesItsInstructionSet_OrSaysWhatIsMissing(string name, CpuIsa isa)
    {
        if (CpuIsas.Missing(isa) is not { } missing)
        {
            Assert.Equal(isa, CpuIsas.Choose(name));
            return;
        }

        Assert.NotEqual(isa, CpuIsas.Choose(null));
        string message = Assert.Throws<BackendUnavailableException>(() => CpuIsas.Choose(name)).Message;
        Assert.Contains($"{CpuIsas.Variable}={CpuIsas.Spelling(isa)}, but here {missing}.", message, StringComparison.Ordinal);
    }

    [Fact]
    public void UnknownName_IsAnErrorThatListsTheNames()
    {
        string message = Assert.Throws<BackendUnavailableException>(() => CpuIsas.Choose("avx1024")).Message;
        Assert.All(Enum.GetValues<CpuIsa>(), isa => Assert.Contains(CpuIsas.Spelling(isa), message, StringComparison.Ordinal));
    }

    private static CpuIsa Here(string name)
    {
        try
        {
            return CpuIsas.Choose(name);
        }
        catch (BackendUnavailableException exception)
        {
            Assert.Skip(exception.Message);
            throw;
        }
    }
}
