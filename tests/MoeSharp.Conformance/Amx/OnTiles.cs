using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

// Products of bfloat16 in tile registers, on a model of them: the kernel's own bytes compute every case.

public sealed class GemmOnTiles(BackendPool pool) : GemmConformance(pool.Tiles.Poisoned());

public sealed class ExpertOnTiles(BackendPool pool) : ExpertConformance(pool.Tiles.Poisoned());

public sealed class NullInvarianceOnTiles(BackendPool pool) : NullInvariance(pool.Tiles.Poisoned());

public sealed class GemmDeterminismOnTiles(BackendPool pool) : CpuDeterminism<GemmCases>(DType.BFloat16)
{
    protected override Backend Make(int threads) => pool.Tiles.Make(threads);
}

public sealed class ExpertDeterminismOnTiles(BackendPool pool) : CpuDeterminism<ExpertCases>(DType.BFloat16)
{
    protected override Backend Make(int threads) => pool.Tiles.Make(threads);
}
