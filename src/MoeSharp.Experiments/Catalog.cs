using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>Every experiment there is.</summary>
internal static class Catalog
{
    /// <summary>In the order in which all of them are run.</summary>
    public static IReadOnlyList<Experiment> All { get; } = [new NullExpertsExperiment(), new XmoeExperiment(), new VqMoeExperiment()];

    /// <summary>An experiment by name.</summary>
    /// <exception cref="ArgumentException">There is none.</exception>
    public static Experiment Get(string name)
    {
        Experiment? found = All.FirstOrDefault(experiment => experiment.Name == name);
        Guard.That(found is not null, $"There is no experiment '{name}'; there are {string.Join(", ", All.Select(experiment => experiment.Name))}.");
        return found!;
    }
}
