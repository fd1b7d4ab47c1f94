using BenchmarkDotNet.Attributes;
using MoeSharp.Cpu;
using MoeSharp.Profiling;

namespace MoeSharp.Bench;

/// <summary>The parameters that every dispatch micro-benchmark shares: T, E, K, rho at d = 256, n = 256.</summary>
public abstract class RoutingBench
{
    [Params(512, 4096)]
    public int Tokens { get; set; }

    [Params(16, 64)]
    public int Experts { get; set; }

    [Params(2, 8)]
    public int TopK { get; set; }

    [Params(1.0, 0.5, 0.25)]
    public double Rho { get; set; }

    protected ProfiledLayer Fixture { get; private set; } = null!;

    private CpuBackend Backend { get; set; } = null!;

    [GlobalSetup]
    public void Setup()
    {
        Backend = new CpuBackend();
        Fixture = new ProfiledLayer(Backend, new ProfileShape("bench", Tokens, 256, 256, Experts, TopK, Rho));
        Fixture.GateForward();
        Fixture.ExpertsForward();
        Fixture.ExpertsBackward();
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        Fixture.Dispose();
        Backend.Dispose();
    }
}

/// <summary>Logits to ids, weights and statistics, and back.</summary>
public class GateBench : RoutingBench
{
    [Benchmark]
    public void Forward() => Fixture.GateForward();

    [Benchmark]
    public void Backward() => Fixture.GateBackward();
}

/// <summary>Ids to the routing plan: the stable counting sort.</summary>
public class DispatchBench : RoutingBench
{
    [Benchmark]
    public void Forward() => Fixture.Dispatch();
}

/// <summary>The grouped expert GEMMs over real rows.</summary>
public class ExpertsBench : RoutingBench
{
    [Benchmark]
    public void Forward() => Fixture.ExpertsForward();

    [Benchmark]
    public void Backward() => Fixture.ExpertsBackward();
}

/// <summary>Rows back to tokens.</summary>
public class CombineBench : RoutingBench
{
    [Benchmark]
    public void Forward() => Fixture.Combine();

    [Benchmark]
    public void Backward() => Fixture.CombineBackward();
}
