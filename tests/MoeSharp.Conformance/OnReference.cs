namespace MoeSharp.Conformance;

// The oracle is not compared with itself: gradients are checked by difference quotients, layers by golden values.
public sealed class GemmOnReference(BackendPool pool) : ContractConformance<GemmCases>(pool.Reference);

public sealed class DenseOnReference(BackendPool pool) : ContractConformance<DenseCases>(pool.Reference);

public sealed class ElementwiseOnReference(BackendPool pool) : ContractConformance<ElementwiseCases>(pool.Reference);

public sealed class AttentionOnReference(BackendPool pool) : ContractConformance<AttentionCases>(pool.Reference);

public sealed class GateOnReference(BackendPool pool) : ContractConformance<GateCases>(pool.Reference);

public sealed class DispatchOnReference(BackendPool pool) : ContractConformance<DispatchCases>(pool.Reference);

public sealed class ExpertOnReference(BackendPool pool) : ContractConformance<ExpertCases>(pool.Reference);

public sealed class CombineOnReference(BackendPool pool) : ContractConformance<CombineCases>(pool.Reference);

public sealed class QuantizerOnReference(BackendPool pool) : ContractConformance<QuantizerCases>(pool.Reference);

public sealed class OptimizerOnReference(BackendPool pool) : ContractConformance<OptimizerCases>(pool.Reference);
