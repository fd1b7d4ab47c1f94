namespace MoeSharp.Experiments;

/// <summary>A paper's claims, put to the test on data that the program makes itself.</summary>
/// <remarks>
/// To write one: derive a <see cref="Study"/> per kind of data, list them here, and add the experiment to <see cref="Catalog.All"/>.
/// Tuning, seeds, resuming, statistics, timing and the report are the framework's.
/// </remarks>
internal abstract class Experiment
{
    /// <summary>Name on the command line.</summary>
    public abstract string Name { get; }

    /// <summary>Heading of the report.</summary>
    public abstract string Title { get; }

    /// <summary>What is tested and against what, in a few sentences.</summary>
    public abstract string Summary { get; }

    /// <summary>The paper.</summary>
    public abstract string Source { get; }

    /// <summary>The parts, in the order of the report.</summary>
    public abstract IReadOnlyList<Study> Studies { get; }
}
