using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>GEMM.</summary>
public abstract class GemmConformance(Backend subject) : OpConformance<GemmCases>(subject);

/// <summary>Embedding, norm, rotary embedding, cross-entropy.</summary>
public abstract class DenseConformance(Backend subject) : OpConformance<DenseCases>(subject);

/// <summary>Element-wise ops.</summary>
public abstract class ElementwiseConformance(Backend subject) : OpConformance<ElementwiseCases>(subject);

/// <summary>Attention.</summary>
public abstract class AttentionConformance(Backend subject) : OpConformance<AttentionCases>(subject);

/// <summary>Gate.</summary>
public abstract class GateConformance(Backend subject) : OpConformance<GateCases>(subject);

/// <summary>Noisy top-k.</summary>
public abstract class NoisyConformance(Backend subject) : OpConformance<NoisyCases>(subject);

/// <summary>Dispatch.</summary>
public abstract class DispatchConformance(Backend subject) : OpConformance<DispatchCases>(subject);

/// <summary>Grouped expert ops.</summary>
public abstract class ExpertConformance(Backend subject) : OpConformance<ExpertCases>(subject);

/// <summary>Combine and constant experts.</summary>
public abstract class CombineConformance(Backend subject) : OpConformance<CombineCases>(subject);

/// <summary>Vector quantisation.</summary>
public abstract class QuantizerConformance(Backend subject) : OpConformance<QuantizerCases>(subject);

/// <summary>Optimizer ops.</summary>
public abstract class OptimizerConformance(Backend subject) : OpConformance<OptimizerCases>(subject);
