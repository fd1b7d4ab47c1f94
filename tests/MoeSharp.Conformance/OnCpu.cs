namespace MoeSharp.Conformance;

public sealed class GemmOnCpu(BackendPool pool) : GemmConformance(pool.Cpu);

public sealed class DenseOnCpu(BackendPool pool) : DenseConformance(pool.Cpu);

public sealed class ElementwiseOnCpu(BackendPool pool) : ElementwiseConformance(pool.Cpu);

public sealed class AttentionOnCpu(BackendPool pool) : AttentionConformance(pool.Cpu);

public sealed class GateOnCpu(BackendPool pool) : GateConformance(pool.Cpu);

public sealed class NoisyOnCpu(BackendPool pool) : NoisyConformance(pool.Cpu);

public sealed class DispatchOnCpu(BackendPool pool) : DispatchConformance(pool.Cpu);

public sealed class ExpertOnCpu(BackendPool pool) : ExpertConformance(pool.Cpu);

public sealed class CombineOnCpu(BackendPool pool) : CombineConformance(pool.Cpu);

public sealed class QuantizerOnCpu(BackendPool pool) : QuantizerConformance(pool.Cpu);

public sealed class OptimizerOnCpu(BackendPool pool) : OptimizerConformance(pool.Cpu);

// The same in bfloat16.

public sealed class GemmOnCpu16(BackendPool pool) : GemmConformance(pool.Cpu16);

public sealed class DenseOnCpu16(BackendPool pool) : DenseConformance(pool.Cpu16);

public sealed class ElementwiseOnCpu16(BackendPool pool) : ElementwiseConformance(pool.Cpu16);

public sealed class AttentionOnCpu16(BackendPool pool) : AttentionConformance(pool.Cpu16);

public sealed class GateOnCpu16(BackendPool pool) : GateConformance(pool.Cpu16);

public sealed class NoisyOnCpu16(BackendPool pool) : NoisyConformance(pool.Cpu16);

public sealed class DispatchOnCpu16(BackendPool pool) : DispatchConformance(pool.Cpu16);

public sealed class ExpertOnCpu16(BackendPool pool) : ExpertConformance(pool.Cpu16);

public sealed class CombineOnCpu16(BackendPool pool) : CombineConformance(pool.Cpu16);

public sealed class QuantizerOnCpu16(BackendPool pool) : QuantizerConformance(pool.Cpu16);

public sealed class OptimizerOnCpu16(BackendPool pool) : OptimizerConformance(pool.Cpu16);

// Products of bfloat16 where the processor has no instruction for them.

public sealed class GemmOnCpu16Simd(BackendPool pool) : GemmConformance(pool.Cpu16Simd);

public sealed class ExpertOnCpu16Simd(BackendPool pool) : ExpertConformance(pool.Cpu16Simd);

// Without machine code.

public sealed class ExpertOnCpuPortable(BackendPool pool) : ExpertConformance(pool.CpuPortable);

public sealed class ExpertOnCpu16Portable(BackendPool pool) : ExpertConformance(pool.Cpu16Portable);
