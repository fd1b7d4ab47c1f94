using MoeSharp.Core;
using MoeSharp.Cpu;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>The CPU backend gives the same bits for any number of threads, and in every run.</summary>
public abstract class CpuDeterminism<TCatalog>(DType type = DType.Float32)
    where TCatalog : ICatalog
{
    /// <summary>Names of the cases.</summary>
    public static TheoryData<string> Names { get; } = [.. TCatalog.Large.Select(op => op.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Bits_DoNotDependOn_TheNumberOfThreads(string name)
    {
        OpCase op = TCatalog.Large.Single(candidate => candidate.Name == name);
        (string[] one, string[] two, string[] three) = (Hashes(op, 1), Hashes(op, 2), Hashes(op, 3));
        Assert.Equal(one[0], one[1]);
        Assert.Equal(one[0], two[0]);
        Assert.Equal(two[0], two[1]);
        Assert.Equal(one[0], three[0]);
    }

    /// <summary>The backend with a number of threads.</summary>
    protected virtual Backend Make(int threads) => new CpuBackend(threads, type);

    /// <summary>Two runs on a backend of its own.</summary>
    private string[] Hashes(OpCase op, int threads)
    {
        using Backend backend = Make(threads);
        return [op.RunOn(backend, Poison.Loud).Hash(), op.RunOn(backend, Poison.Loud).Hash()];
    }
}

public sealed class GemmDeterminism : CpuDeterminism<GemmCases>;

public sealed class DenseDeterminism : CpuDeterminism<DenseCases>;

public sealed class ElementwiseDeterminism : CpuDeterminism<ElementwiseCases>;

public sealed class AttentionDeterminism : CpuDeterminism<AttentionCases>;

public sealed class GateDeterminism : CpuDeterminism<GateCases>;

public sealed class DispatchDeterminism : CpuDeterminism<DispatchCases>;

public sealed class ExpertDeterminism : CpuDeterminism<ExpertCases>;

public sealed class CombineDeterminism : CpuDeterminism<CombineCases>;

public sealed class QuantizerDeterminism : CpuDeterminism<QuantizerCases>;

public sealed class GemmDeterminism16() : CpuDeterminism<GemmCases>(DType.BFloat16);

public sealed class AttentionDeterminism16() : CpuDeterminism<AttentionCases>(DType.BFloat16);

public sealed class ExpertDeterminism16() : CpuDeterminism<ExpertCases>(DType.BFloat16);

public sealed class CombineDeterminism16() : CpuDeterminism<CombineCases>(DType.BFloat16);

public sealed class OptimizerDeterminism : CpuDeterminism<OptimizerCases>;
