using Xunit;

namespace MoeSharp.Conformance;

[Collection(CudaPool.Single)]
public sealed class AttentionOnCuda32(BackendPool pool) : AttentionConformance(pool.Cuda.Float32);

[Collection(CudaPool.Single)]
public sealed class DenseOnCuda32(BackendPool pool) : DenseConformance(pool.Cuda.Float32);

[Collection(CudaPool.Single)]
public sealed class ElementwiseOnCuda32(BackendPool pool) : ElementwiseConformance(pool.Cuda.Float32);

[Collection(CudaPool.Single)]
public sealed class OptimizerOnCuda32(BackendPool pool) : OptimizerConformance(pool.Cuda.Float32);

[Collection(CudaPool.Half)]
public sealed class AttentionOnCuda16(BackendPool pool) : AttentionConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Half)]
public sealed class DenseOnCuda16(BackendPool pool) : DenseConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Half)]
public sealed class ElementwiseOnCuda16(BackendPool pool) : ElementwiseConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Half)]
public sealed class OptimizerOnCuda16(BackendPool pool) : OptimizerConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Single)]
public sealed class GemmOnCuda32(BackendPool pool) : GemmConformance(pool.Cuda.Float32);

[Collection(CudaPool.Half)]
public sealed class GemmOnCuda16(BackendPool pool) : GemmConformance(pool.Cuda.BFloat16);

[Collection(CudaPool.Single)]
public sealed class ExpertOnCuda32(BackendPool pool) : ExpertConformance(pool.Cuda.Float32);

[Collection(CudaPool.Half)]
public sealed class ExpertOnCuda16(BackendPool pool) : ExpertConformance(pool.Cuda.BFloat16);
