using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>The gate of one token: probabilities, choice, weights, statistics.</summary>
/// <remarks>
/// <para>The problem: softmax, sigmoid, biases, groups, shared null logits and three ways to normalise must be one pass over a row that
/// fits the first-level cache, at a cost that depends on the columns and never on the number of null copies.</para>
/// <para>The choice: a token's exponentials, scores and integer keys stand in thread scratch; copies of a shared null logit are
/// a factor on its exponential and one run in the choice. Normalised softmax weights are computed from the chosen logits alone,
/// summed in rank order over the slots that take part: a token with null slots gets the bits of a router without them.</para>
/// </remarks>
internal unsafe struct GateKernel
{
    private readonly RouterLayout _layout;
    private readonly float* _exponentials;
    private readonly float* _scores;
    private readonly int* _keys;
    private readonly int* _groupKeys;
    private readonly int* _bestKeys;
    private readonly int* _chosen;
    private readonly float* _included;

    /// <summary>Lays the work memory of one thread out.</summary>
    public GateKernel(RouterLayout layout, float* scratch)
    {
        _layout = layout;
        int columns = Padded(layout.Columns), slots = Padded(layout.Spec.TopK);
        _exponentials = scratch;
        _scores = _exponentials + columns;
        _keys = (int*)(_scores + columns);
        _groupKeys = _keys + columns;
        _bestKeys = _groupKeys + columns;
        _chosen = _bestKeys + slots;
        _included = (float*)(_chosen + slots);
    }

    /// <summary>Floats of work memory.</summary>
    public static long ScratchLength(RouterSpec spec) => (4L * Padded(spec.Columns)) + (3L * Padded(spec.TopK));

    /// <summary>Routes a token.</summary>
    /// <param name="logits">[C].</param>
    /// <param name="bias">[C] or null.</param>
    /// <param name="ids">[K] written.</param>
    /// <param name="weights">[K] written.</param>
    /// <param name="counts">[C], added to.</param>
    /// <param name="probabilities">[C], added to.</param>
    /// <returns>logsumexp over all slots.</returns>
    public readonly float Route(float* logits, float* bias, int* ids, float* weights, int* counts, float* probabilities)
    {
        RouterSpec spec = _layout.Spec;
        float largest = VectorMath.Max(logits, _layout.Columns);
        float sum = Exponentials(_layout, logits, largest, _exponentials);
        if (spec.Score == ScoreFunction.Sigmoid)
        {
            Sigmoids(logits, spec.SelectionBias == SelectionBias.Logit ? null : _scores, _layout.Columns, probabilities, 0f);
        }

        float scale = 1f / sum;
        float* source = _exponentials;
        if (spec.Score == ScoreFunction.Sigmoid)
        {
            Sigmoids(logits, _scores, _layout.Columns, null, 0f);
            float total = SlotSum(_layout, _scores);
            scale = total == 0f ? 0f : 1f / total;
            source = _scores;
        }

        VectorMath.AddScaled(scale, source, probabilities, _layout.Columns);
        Keys(logits, bias, 1f / sum);
        if (spec.GroupCount > spec.GroupsKept)
        {
            SlotSelection.MaskGroups(_included, _keys, spec, _groupKeys);
        }

        return largest + MathF.Log(sum);
    }

    private static int Padded(int count) => (count + VectorMath.Lanes - 1) & -VectorMath.Lanes;
}
