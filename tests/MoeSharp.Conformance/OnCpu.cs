namespace MoeSharp.Conformance;

public sealed class GemmOnCpu(BackendPool pool) : GemmConformance(pool.Cpu);

public sealed class DenseOnCpu(BackendPool pool) : DenseConformance(pool.Cpu);

public sealed class ElementwiseOnCpu(BackendPool pool) : ElementwiseConformance(pool.Cpu);

public sealed class AttentionOnCpu(BackendPool pool) : AttentionConformance(pool.Cpu);

public sealed class GateOnCpu(BackendPool pool) : GateConformance(pool.Cpu);

public sealed class DispatchOnCpu(BackendPool pool) : DispatchConformance(pool.Cpu);

public sealed class ExpertOnCpu(BackendPool pool) : ExpertConformance(pool.Cpu);

public sealed class CombineOnCpu(BackendPool pool) : CombineConformance(pool.Cpu);

public sealed class OptimizerOnCpu(BackendPool pool) : OptimizerConformance(pool.Cpu);
