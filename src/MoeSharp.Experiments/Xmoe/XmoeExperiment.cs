namespace MoeSharp.Experiments;

/// <summary>XMoE: are many small experts, chosen until their probabilities reach a threshold, better than a fixed number of them?</summary>
internal sealed class XmoeExperiment : Experiment
{
    /// <inheritdoc/>
    public override string Name => "xmoe";

    /// <inheritdoc/>
    public override string Title => "Fine-grained experts and threshold routing";

    /// <inheritdoc/>
    public override string Summary =>
        "XMoE divides a feed-forward layer into many small experts and lets each token take the fewest whose probabilities reach a threshold; the paper says that this halves the FLOPs without loss, and "
        + "that a dense model can be split, trained on with all experts and then run with few. Two things are told apart here that the paper changes together: the size of the experts, and the rule that chooses them.";

    /// <inheritdoc/>
    public override string Source => "XMoE: Sparse Models with Fine-grained and Adaptive Expert Selection, arXiv 2403.18926";

    /// <inheritdoc/>
    public override IReadOnlyList<Study> Studies { get; } = [new ThresholdStudy(), new DenseStudy()];
}
