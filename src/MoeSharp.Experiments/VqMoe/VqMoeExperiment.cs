namespace MoeSharp.Experiments;

/// <summary>VQMoE: do codes route more steadily than a router, and can they replace it?</summary>
internal sealed class VqMoeExperiment : Experiment
{
    /// <inheritdoc/>
    public override string Name => "vqmoe";

    /// <inheritdoc/>
    public override string Title => "Discrete codes beside, and in place of, a router";

    /// <inheritdoc/>
    public override string Summary =>
        "A VQMoE layer sends every token to the experts of a top-1 router and to the expert of its nearest code, over shared experts. The paper says that codes keep their experts where a router "
        + "wavers, that this makes the model more robust, and that after training the router can be dropped: fine-tuned codes alone do the work with half the active experts.";

    /// <inheritdoc/>
    public override string Source => "On the Role of Discrete Representation in Sparse Mixture of Experts, arXiv 2411.19402";

    /// <inheritdoc/>
    public override IReadOnlyList<Study> Studies { get; } = [new ClusterStudy()];
}
