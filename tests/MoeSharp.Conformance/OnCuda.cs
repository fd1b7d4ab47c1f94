using Xunit;

namespace MoeSharp.Conformance;

// Every family on CUDA, in both float types: on the emulator, or on a device where MOESHARP_TEST_DEVICE says so.

[Collection(CudaPool.Single)]
public sealed class GemmOnCuda32(BackendPool pool) : GemmConformance(pool.Cuda.Float32);

[Collection(CudaPool.Single)]
public sealed class AttentionOnCuda32(BackendPool pool) : AttentionConformance(pool.Cuda.Float32);

[Collection(CudaPool.Single)]
public sealed class DenseOnCuda32(BackendPool pool) : DenseConformance(pool.Cuda.Float32);

[Collection(CudaPool.Single)]
public sealed class ElementwiseOnCuda32(BackendPool pool) : ElementwiseConformance(pool.Cuda.Float32);

[Collection(CudaPool.Single)]
public sealed class GateOnCuda32(BackendPool pool) : GateConformance(pool.Cuda.Float32);

[Collection(CudaPool.Single)]
public sealed class NoisyOnCuda32(BackendPool pool) : NoisyConformance(pool.Cuda.Float32);

[Collection(CudaPool.Single)]
public sealed class DispatchOnCuda32(BackendPool pool) : DispatchConformance(pool.Cuda.Float32);

[Collection(CudaPool.Single)]
public sealed class ExpertOnCuda32(BackendPool pool) : ExpertConformance(pool.Cuda.Float32);

[Collection(CudaPool.Single)]
public sealed class CombineOnCuda32(BackendPool pool) : CombineConformance(pool.Cuda.Float32);

[Collection(CudaPool.Single)]
public sealed class QuantizerOnCuda32(BackendPool pool) : QuantizerConformance(pool.Cuda.Float32);

[Collection(CudaPool.Single)]
public sealed class OptimizerOnCuda32(BackendPool pool) : OptimizerConformance(pool.Cuda.Float32);

[Collection(CudaPool.Half)]
public sealed class AttentionOnCuda16(BackendPool pool) : AttentionConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Half)]
public sealed class GemmOnCuda16(BackendPool pool) : GemmConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Half)]
public sealed class DenseOnCuda16(BackendPool pool) : DenseConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Half)]
public sealed class ElementwiseOnCuda16(BackendPool pool) : ElementwiseConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Half)]
public sealed class GateOnCuda16(BackendPool pool) : GateConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Half)]
public sealed class NoisyOnCuda16(BackendPool pool) : NoisyConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Half)]
public sealed class DispatchOnCuda16(BackendPool pool) : DispatchConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Half)]
public sealed class ExpertOnCuda16(BackendPool pool) : ExpertConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Half)]
public sealed class CombineOnCuda16(BackendPool pool) : CombineConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Half)]
public sealed class QuantizerOnCuda16(BackendPool pool) : QuantizerConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Half)]
public sealed class OptimizerOnCuda16(BackendPool pool) : OptimizerConformance(pool.Cuda.BFloat16);

/// <summary>GateRules in float32.</summary>
[Collection(CudaPool.Single)]
public sealed class GateRulesOnCuda32(BackendPool pool) : GateRules(pool.Cuda.Float32);

/// <summary>DispatchRules in float32.</summary>
[Collection(CudaPool.Single)]
public sealed class DispatchRulesOnCuda32(BackendPool pool) : DispatchRules(pool.Cuda.Float32);

/// <summary>NullInvariance in float32.</summary>
[Collection(CudaPool.Single)]
public sealed class NullInvarianceOnCuda32(BackendPool pool) : NullInvariance(pool.Cuda.Float32);

/// <summary>NullClosedForms in float32.</summary>
[Collection(CudaPool.Single)]
public sealed class NullClosedFormsOnCuda32(BackendPool pool) : NullClosedForms(pool.Cuda.Float32);

/// <summary>HostChecks in float32.</summary>
[Collection(CudaPool.Single)]
public sealed class HostChecksOnCuda32(BackendPool pool) : HostChecks(pool.Cuda.Float32);

/// <summary>GateRules in bfloat16.</summary>
[Collection(CudaPool.Half)]
public sealed class GateRulesOnCuda16(BackendPool pool) : GateRules(pool.Cuda.BFloat16);

/// <summary>DispatchRules in bfloat16.</summary>
[Collection(CudaPool.Half)]
public sealed class DispatchRulesOnCuda16(BackendPool pool) : DispatchRules(pool.Cuda.BFloat16);

/// <summary>NullInvariance in bfloat16.</summary>
[Collection(CudaPool.Half)]
public sealed class NullInvarianceOnCuda16(BackendPool pool) : NullInvariance(pool.Cuda.BFloat16);

/// <summary>NullClosedForms in bfloat16.</summary>
[Collection(CudaPool.Half)]
public sealed class NullClosedFormsOnCuda16(BackendPool pool) : NullClosedForms(pool.Cuda.BFloat16);

/// <summary>HostChecks in bfloat16.</summary>
[Collection(CudaPool.Half)]
public sealed class HostChecksOnCuda16(BackendPool pool) : HostChecks(pool.Cuda.BFloat16);

/// <summary>The goldens on CUDA in float32; their tolerances are those of float32 layers.</summary>
[Collection(CudaPool.Single)]
public sealed class GoldenOnCuda32(BackendPool pool) : GoldenConformance(pool.Cuda.Float32);
