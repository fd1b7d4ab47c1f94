using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>What a model makes of points that it never saw, as they are and under noise.</summary>
/// <remarks>
/// The expert of a token is that of its code where there is a codebook, else the router's first. Consistency is the share of tokens that keep it
/// when noise is added to the point; purity is, over the clusters, the mean share of a cluster's tokens that go to its most frequent expert; an
/// expert lives when it gets at least a tenth of an even share.
/// </remarks>
internal sealed class ClusterEvaluation
{
    /// <summary>Points of an evaluation.</summary>
    public const int Tokens = 8192;

    /// <summary>Deviations of the noise; the first is none, the claims are about <see cref="Noise"/>.</summary>
    public static readonly double[] Deviations = [0, 0.1, 0.2, 0.4, 0.6, 0.8];

    /// <summary>The deviation that the claims are about.</summary>
    public const double Noise = 0.4;

    private readonly List<double> _accuracies = [];
    private readonly List<double> _flips = [];
    private readonly List<double> _setFlips = [];
    private double _loss;
    private double _purity;
    private int _live;
    private double _experts;
    private double[] _rows = [];

    /// <summary>Evaluates a model.</summary>
    public static ClusterEvaluation Of(Backend backend, ClusterModel model, ClusterTask task, CancellationToken stop)
    {
        var evaluation = new ClusterEvaluation();
        float[] points = new float[Tokens * ClusterTask.Width];
        int[] classes = new int[Tokens], clusters = new int[Tokens];
        task.Evaluate(points, classes, clusters);
        using var tape = new Tape(backend, record: false);
        using Tensor input = backend.Empty(Tokens, ClusterTask.Width), targets = backend.Empty(new Shape(Tokens), DType.Int32);
        targets.CopyFrom<int>(classes);
        (int[] Experts, int[][] Sets)? calm = null;
        foreach (double deviation in Deviations)
        {
            stop.ThrowIfCancellationRequested();
            float[] x = [.. points];
            task.Disturb(x, deviation);
            input.CopyFrom<float>(x);
            (Variable logits, MoeOutput moe) = model.Forward(tape, tape.Constant(input));
            evaluation._accuracies.Add(Accuracy(logits.Value.ToArray<float>(), classes));
            (int[] experts, int[][] sets) = Routing(moe);
            if (calm is null)
            {
                calm = (experts, sets);
                evaluation._loss = tape.CrossEntropy(logits, targets, out _).Value.ToDoubles()[0];
                evaluation.Describe(experts, sets, clusters, moe.Spec.Experts);
            }

            evaluation._flips.Add(experts.Zip(calm.Value.Experts).Count(pair => pair.First != pair.Second) / (double)Tokens);
            evaluation._setFlips.Add(sets.Zip(calm.Value.Sets).Count(pair => !pair.First.SequenceEqual(pair.Second)) / (double)Tokens);
            tape.Reset();
        }

        return evaluation;
    }

    /// <summary>Writes every number with a prefix, and the routing of the timed layer where there is none.</summary>
    public void Write(CellResult result, string prefix, int expertWidth)
    {
        int noisy = Array.IndexOf(Deviations, Noise);
        result[prefix + Metric.Loss] = _loss;
        result[prefix + "accuracy"] = _accuracies[0];
        result[prefix + "accuracy_noise"] = _accuracies[noisy];
        result[prefix + "flips"] = _flips[noisy];
        result[prefix + "set_flips"] = _setFlips[noisy];
        result[prefix + "purity"] = _purity;
        result[prefix + "live"] = _live;
        result[prefix + Metric.RealExperts] = _experts;
        result.Series[prefix + "accuracies"] = _accuracies;
        result.Series[prefix + "flip_curve"] = _flips;
        if (prefix.Length == 0)
        {
            result[Metric.Width] = _experts * expertWidth;
            result[Metric.Flops] = 6 * _experts * ClusterModel.Hidden * expertWidth;
            result.Series[Metric.ExpertRows] = _rows;
        }
    }

    private static double Accuracy(float[] logits, int[] classes)
    {
        int right = 0;
        for (int t = 0; t < classes.Length; t++)
        {
            ReadOnlySpan<float> scores = logits.AsSpan(t * ClusterTask.Classes, ClusterTask.Classes);
            int best = 0;
            for (int i = 1; i < scores.Length; i++)
            {
                best = scores[i] > scores[best] ? i : best;
            }

            right += best == classes[t] ? 1 : 0;
        }

        return right / (double)classes.Length;
    }

    /// <summary>The expert of each token, and all of them in order.</summary>
    private static (int[] Experts, int[][] Sets) Routing(MoeOutput moe)
    {
        int[][] routed = [.. moe.Routing.Ids.ToArray<int>().Chunk(moe.Spec.TopK)];
        int[]? codes = moe.Discrete?.Result.Ids.ToArray<int>();
        int[] experts = codes ?? [.. routed.Select(ids => ids[0])];
        bool both = codes is not null && !ReferenceEquals(moe.Discrete!.Result, moe.Routing);
        return (experts, [.. routed.Select((ids, t) => both ? [.. ids.Order(), codes![t]] : ids.Order().ToArray())]);
    }

    private void Describe(int[] experts, int[][] sets, int[] clusters, int count)
    {
        var table = new int[ClusterTask.Clusters, count];
        for (int t = 0; t < Tokens; t++)
        {
            table[clusters[t], experts[t]]++;
        }

        _purity = Enumerable.Range(0, ClusterTask.Clusters).Average(cluster =>
        {
            int[] row = [.. Enumerable.Range(0, count).Select(expert => table[cluster, expert])];
            return row.Max() / (double)Math.Max(1, row.Sum());
        });
        _live = Enumerable.Range(0, count).Count(expert => Enumerable.Range(0, ClusterTask.Clusters).Sum(cluster => table[cluster, expert]) >= Tokens / (10.0 * count));
        _experts = sets.Average(set => set.Length);
        _rows = [.. Enumerable.Range(0, count).Select(expert => sets.Sum(set => set.Count(id => id == expert)) / (double)Tokens).OrderDescending()];
    }
}
