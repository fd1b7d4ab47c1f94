using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>Routing at its limits on the CPU backend.</summary>
public sealed class RoutingLimitsOnCpu(BackendPool pool) : OpConformance<RoutingLimitCases>(pool.Cpu);

/// <summary>Routing on CUDA where its launches change: fewer warps per block, slots beyond a warp, chunks summed in a launch of their own.</summary>
[Collection(CudaPool.Single)]
public sealed class RoutingLimitsOnCuda32(BackendPool pool) : OpConformance<RoutingLimitCases>(pool.Cuda.Float32);

/// <summary>What the routing of the CUDA backend refuses.</summary>
[Collection(CudaPool.Single)]
public sealed class CudaRoutingRules(BackendPool pool)
{
    private readonly Backend _cuda = pool.Cuda.Float32;

    [Fact]
    public void MoreNullGroupsThanTheKernelsTake_AreRefused_UnlessTheyMerge()
    {
        RouterSpec spec = new() { Experts = 4, TopK = 2, Nulls = [.. Enumerable.Repeat(new NullGroup(NullKind.Identity, 1), 9)] };
        NotSupportedException error = Assert.Throws<NotSupportedException>(() => Gate(spec));
        Assert.Equal(
            "The CUDA backend takes routers with up to 8 null groups, this one has 9. Order the groups so that those of one kind stand together, and let them share a logit.",
            error.Message);
        Assert.Equal([0, 1], Gate(spec with { SharedNullLogit = false }));
    }

    [Fact]
    public void RowsLargerThanSharedMemory_AreRefused_AndTheNextCallWorks()
    {
        ArgumentException error = Assert.Throws<ArgumentException>(() => Gate(new RouterSpec { Experts = 50_000, TopK = 1 }));
        Assert.StartsWith("The gate keeps a row of 50,000 columns in shared memory: ", error.Message, StringComparison.Ordinal);
        Assert.EndsWith("Use fewer experts, or one shared logit for the null slots.", error.Message, StringComparison.Ordinal);
        Assert.Equal([0], Gate(new RouterSpec { Experts = 50, TopK = 1 }));
    }

    /// <summary>The ids of one token with equal logits.</summary>
    private double[] Gate(RouterSpec spec)
    {
        OpCase equal = GateCases.Gate("equal", spec, 1);
        equal = equal with { Tensors = [.. equal.Tensors.Select(tensor => tensor with { Data = new double[tensor.Data.Length] })] };
        return equal.RunOn(_cuda, Poison.Loud)["ids"];
    }
}
