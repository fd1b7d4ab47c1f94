namespace MoeSharp.Experiments;

/// <summary>Null experts: do tokens that may leave slots empty make better use of the same compute?</summary>
internal sealed class NullExpertsExperiment : Experiment
{
    /// <inheritdoc/>
    public override string Name => "null-experts";

    /// <inheritdoc/>
    public override string Title => "Null experts at equal compute";

    /// <inheritdoc/>
    public override string Summary =>
        "A router with null slots lets every token decide how many of its K slots cost anything; K ρ is meant to be 2 in every arm that is joined by a line. "
        + "The paper says that at this equal expected compute the loss falls as ρ falls, and that compute moves to the tokens that need it.";

    /// <inheritdoc/>
    public override string Source => "Improving MoE Compute Efficiency by Composing Weight and Data Sparsity, arXiv 2601.15370";

    /// <inheritdoc/>
    public override IReadOnlyList<Study> Studies { get; } = [new StreamStudy(), new TextStudy(), new SceneStudy()];
}
