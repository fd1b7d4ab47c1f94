using MoeSharp.Core;
using MoeSharp.Cuda;
using MoeSharp.Emulator;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>CUDA backends that differ only in how many blocks a launch may have, and in their stream.</summary>
public sealed class CudaGrids : IDisposable
{
    // 1 block: everything in one loop. 3 and 7: other blocks meet other items than with a grid of powers of two.
    private static readonly int[] s_maxBlocks = [1, 3, 7, 0];
    private readonly Dictionary<DType, IReadOnlyList<Backend>> _backends = [];

    /// <summary>One per grid, each with a stream of its own in one context.</summary>
    public IReadOnlyList<Backend> Of(DType type)
    {
        CudaPool.Require();
        if (!_backends.TryGetValue(type, out IReadOnlyList<Backend>? made))
        {
            made = [.. s_maxBlocks.Select(blocks => CudaPool.Make(type, new CudaOptions { MaxBlocks = blocks }))];
            _backends.Add(type, made);
        }

        return made;
    }

    public void Dispose()
    {
        foreach (Backend backend in _backends.Values.SelectMany(list => list))
        {
            backend.Dispose();
        }
    }
}

/// <summary>The CUDA backend gives the same bits for any number of blocks, any order in which they run, and beside other streams.</summary>
/// <remarks>On the emulator a seed decides in which order blocks, warps, lanes and streams advance; on a device the hardware does.</remarks>
public abstract class CudaDeterminism<TCatalog>(CudaGrids grids)
    where TCatalog : ICatalog
{
    // 4 grids, 25 times each: a hundred runs where the hardware draws the order. On the emulator the seed draws it, the same one every time.
    private static int Rounds => CudaPool.OnDevice ? 25 : 1;

    /// <summary>One large case per op: as many runs of all of them would take the emulator half an hour.</summary>
    public static TheoryData<string, DType> Names { get; } = new(
        TCatalog.Large.DistinctBy(op => op.Name.Split(' ')[0]).SelectMany(_ => (DType[])[DType.Float32, DType.BFloat16], (op, type) => (op.Name, type)));

    [Theory]
    [MemberData(nameof(Names))]
    public void Bits_DoNotDependOn_Grid_Schedule_OrStream(string name, DType type)
    {
        OpCase op = TCatalog.Large.Single(candidate => candidate.Name == name).For(type);
        IReadOnlyList<Backend> backends = grids.Of(type);
        Schedule(0);
        string expected = op.RunOn(backends[^1], Poison.Loud).Hash();
        try
        {
            Schedule(17);
            for (int round = 0; round < Rounds; round++)
            {
                Assert.All(op.RunTogether(backends), run => Assert.Equal(expected, run.Hash()));
            }
        }
        finally
        {
            Schedule(1);
        }
    }

    private static void Schedule(ulong seed)
    {
        if (!CudaPool.OnDevice)
        {
            EmulatorControl.Seed(seed);
        }
    }
}

public sealed class CudaGemmDeterminism(CudaGrids grids) : CudaDeterminism<GemmCases>(grids);

public sealed class CudaDenseDeterminism(CudaGrids grids) : CudaDeterminism<DenseCases>(grids);

public sealed class CudaElementwiseDeterminism(CudaGrids grids) : CudaDeterminism<ElementwiseCases>(grids);

public sealed class CudaGateDeterminism(CudaGrids grids) : CudaDeterminism<GateCases>(grids);

public sealed class CudaDispatchDeterminism(CudaGrids grids) : CudaDeterminism<DispatchCases>(grids);

public sealed class CudaExpertDeterminism(CudaGrids grids) : CudaDeterminism<ExpertCases>(grids);

public sealed class CudaCombineDeterminism(CudaGrids grids) : CudaDeterminism<CombineCases>(grids);

public sealed class CudaQuantizerDeterminism(CudaGrids grids) : CudaDeterminism<QuantizerCases>(grids);

public sealed class CudaOptimizerDeterminism(CudaGrids grids) : CudaDeterminism<OptimizerCases>(grids);

public sealed class CudaAttentionDeterminism(CudaGrids grids) : CudaDeterminism<AttentionCases>(grids);
