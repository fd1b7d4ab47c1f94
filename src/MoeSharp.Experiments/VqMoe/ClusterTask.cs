using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>Classification of points around sixteen centres, each with a rule of its own.</summary>
/// <remarks>
/// A point is a centre plus a normal offset; its class is the largest of <see cref="Classes"/> linear scores of the offset, with weights that
/// belong to the centre. So which expert should see a point follows from the cluster, and what to answer does not. Task and points
/// are functions of the seed and of the point's number: training sees no point twice, and evaluation takes numbers that training does not reach.
/// </remarks>
internal sealed class ClusterTask
{
    /// <summary>Numbers of a point.</summary>
    public const int Width = 16;

    /// <summary>Centres.</summary>
    public const int Clusters = 16;

    /// <summary>Classes of a point.</summary>
    public const int Classes = 8;

    private const double CentreDeviation = 0.8;
    private const double OffsetDeviation = 0.5;
    private const ulong EvaluationStart = 1UL << 40;
    private const ulong Counters = 64;

    private readonly CounterRandom _points;
    private readonly CounterRandom _noise;
    private readonly double[] _centres;
    private readonly double[] _rules;

    /// <summary>Draws the task of a seed.</summary>
    public ClusterTask(ulong seed)
    {
        _points = new CounterRandom(seed, Initializer.StreamOf("clusters.points"));
        _noise = new CounterRandom(seed, Initializer.StreamOf("clusters.noise"));
        _centres = Normal(seed, "clusters.centres", Clusters * Width, CentreDeviation);
        _rules = Normal(seed, "clusters.rules", Clusters * Classes * Width, 1);
    }

    /// <summary>Training points of a step.</summary>
    public void Train(int step, Span<float> x, Span<int> classes) => Draw((ulong)step * (ulong)classes.Length, x, classes, []);

    /// <summary>Evaluation points, which no training step has.</summary>
    public void Evaluate(Span<float> x, Span<int> classes, Span<int> clusters) => Draw(EvaluationStart, x, classes, clusters);

    /// <summary>Adds normal noise of a deviation: the same noise in another size for every deviation.</summary>
    public void Disturb(Span<float> x, double deviation)
    {
        for (int i = 0; i < x.Length; i++)
        {
            x[i] += (float)(deviation * _noise.Normal((ulong)i));
        }
    }

    private static double[] Normal(ulong seed, string name, int count, double deviation)
    {
        var random = new CounterRandom(seed, Initializer.StreamOf(name));
        return [.. Enumerable.Range(0, count).Select(i => deviation * random.Normal((ulong)i))];
    }

    private void Draw(ulong first, Span<float> x, Span<int> classes, Span<int> clusters)
    {
        Span<double> offset = stackalloc double[Width];
        for (int t = 0; t < classes.Length; t++)
        {
            ulong counter = (first + (ulong)t) * Counters;
            int cluster = (int)_points.Below(counter, Clusters);
            for (int i = 0; i < Width; i++)
            {
                offset[i] = _points.Normal((counter / 2) + 1 + (ulong)i);
                x[(t * Width) + i] = (float)(_centres[(cluster * Width) + i] + (OffsetDeviation * offset[i]));
            }

            classes[t] = Class(cluster, offset);
            if (clusters.Length > 0)
            {
                clusters[t] = cluster;
            }
        }
    }

    private int Class(int cluster, ReadOnlySpan<double> offset)
    {
        (int best, double most) = (0, double.NegativeInfinity);
        for (int candidate = 0; candidate < Classes; candidate++)
        {
            double score = 0;
            for (int i = 0; i < Width; i++)
            {
                score += _rules[(((cluster * Classes) + candidate) * Width) + i] * offset[i];
            }

            (best, most) = score > most ? (candidate, score) : (best, most);
        }

        return best;
    }
}
