using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>The gate of one token: probabilities, choice, weights, statistics.</summary>
/// <remarks>
/// <para>The problem: softmax, sigmoid, biases, groups, shared null logits and three ways to normalise must be one pass over a row that
/// fits the first-level cache, at a cost that depends on the columns and never on the number of null copies.</para>
/// <para>The choice: a token's scores, selection scores and integer keys stand in thread scratch; the copies of a shared null logit are
/// a factor on its exponential and one run in the choice. Normalised softmax weights are computed from the chosen logits alone,
/// summed in rank order over the slots that take part: a token with null slots gets the bits of a router without them.</para>
/// </remarks>
internal readonly unsafe struct GateKernel
{
    private readonly RouterLayout _layout;
    private readonly float* _scores;
    private readonly float* _selection;
    private readonly int* _keys;
    private readonly int* _groupKeys;
    private readonly int* _chosen;
    private readonly float* _values;

    /// <summary>Lays the work memory of one thread out.</summary>
    public GateKernel(RouterLayout layout, float* scratch)
    {
        _layout = layout;
        int columns = Padded(layout.Columns), slots = Padded(layout.Spec.TopK);
        _scores = scratch;
        _selection = _scores + columns;
        _keys = (int*)(_selection + columns);
        _groupKeys = _keys + columns;
        _chosen = _groupKeys + columns;
        _values = (float*)(_chosen + slots);
    }

    /// <summary>Floats of work memory.</summary>
    public static long ScratchLength(RouterLayout layout) => (4L * Padded(layout.Columns)) + (2L * Padded(layout.Spec.TopK));

    /// <summary>Exponentials of logits below the largest, whole vectors (0 behind the row), and their sum over all slots.</summary>
    public static float Exponentials(RouterLayout layout, float* logits, float largest, float* exponentials)
    {
        int columns = layout.Columns;
        Vector256<float> shift = Vector256.Create(largest);
        for (int c = 0; c < columns; c += VectorMath.Lanes)
        {
            int rest = columns - c;
            VectorMath.Exp(VectorMath.Load(logits + c, rest, float.NegativeInfinity) - shift).Store(exponentials + c);
        }

        return SlotSum(layout, exponentials);
    }

    /// <summary>Sum over all slots of a value per column.</summary>
    public static float SlotSum(RouterLayout layout, float* values)
    {
        float sum = VectorMath.Sum(values, layout.PlainColumns);
        for (int c = layout.PlainColumns; c < layout.Columns; c++)
        {
            sum += layout.Copies(c) * values[c];
        }

        return sum;
    }

    /// <summary>Routes a token.</summary>
    /// <param name="logits">[C].</param>
    /// <param name="bias">[C], or null.</param>
    /// <param name="ids">[K], written.</param>
    /// <param name="weights">[K], written.</param>
    /// <param name="counts">[C], added to.</param>
    /// <param name="topCounts">[C], added to: slots of rank 1.</param>
    /// <param name="probabilities">[C], added to.</param>
    /// <returns>logsumexp over all slots.</returns>
    public float Route(float* logits, float* bias, int* ids, float* weights, int* counts, int* topCounts, float* probabilities)
    {
        RouterSpec spec = _layout.Spec;
        int columns = _layout.Columns;
        float largest = VectorMath.Max(logits, columns);
        float sum = Exponentials(_layout, logits, largest, _scores);
        if (spec.Score == ScoreFunction.Softmax)
        {
            VectorMath.Scaled(1f / sum, _scores, _scores, columns);
            VectorMath.AddTo(_scores, probabilities, columns);
        }
        else if (spec.Score == ScoreFunction.Relu)
        {
            Relus(logits, columns, _scores);
            VectorMath.AddTo(_scores, probabilities, columns);
        }
        else
        {
            Sigmoids(logits);
            float total = SlotSum(_layout, _scores);
            VectorMath.AddScaled(total == 0f ? 0f : 1f / total, _scores, probabilities, columns);
        }

        SelectionKeys(logits, bias);
        if (spec.GroupsKept < spec.GroupCount)
        {
            SlotSelection.MaskGroups(_selection, _keys, spec, _groupKeys);
        }

        SlotSelection.Choose(_keys, _layout, spec.TopK, _chosen);
        int filled = Filled();
        topCounts[_chosen[0]] += Math.Min(filled, 1);
        WriteIds(ids, counts, filled);
        WriteWeights(logits, ids, weights);
        return largest + MathF.Log(sum);
    }

    /// <summary>max(0, logit); 0 for NaN.</summary>
    public static void Relus(float* logits, int columns, float* scores)
    {
        for (int c = 0; c < columns; c++)
        {
            scores[c] = logits[c] > 0f ? logits[c] : 0f;
        }
    }

    private static int Padded(int count) => (count + VectorMath.Lanes - 1) & -VectorMath.Lanes;

    private void Sigmoids(float* logits)
    {
        for (int c = 0; c < _layout.Columns; c += VectorMath.Lanes)
        {
            VectorMath.Sigmoid(VectorMath.Load(logits + c, _layout.Columns - c)).Store(_scores + c);
        }
    }

    /// <summary>
    /// Selection scores (read by group sums) and keys. Without a score bias the key is the logit (plus its bias): softmax and sigmoid
    /// order as their logits do, and logits cannot underflow or saturate into ties.
    /// </summary>
    private void SelectionKeys(float* logits, float* bias)
    {
        bool biasOnScore = _layout.Spec.SelectionBias == SelectionBias.Score;
        float* source = biasOnScore ? _scores : logits;
        for (int c = 0; c < _layout.Columns; c += VectorMath.Lanes)
        {
            int rest = _layout.Columns - c;
            Vector256<float> value = VectorMath.Load(source + c, rest);
            value = bias is null ? value : value + VectorMath.Load(bias + c, rest);
            SlotSelection.Order(value).Store(_keys + c);
            (biasOnScore || _layout.Spec.Score == ScoreFunction.Softmax ? value : VectorMath.Sigmoid(value)).Store(_selection + c);
        }

        new Span<int>(_keys + _layout.Columns, Padded(_layout.Columns) - _layout.Columns).Fill(SlotSelection.Masked);
    }

    /// <summary>Slots that are filled: K, or the ranks before which the probabilities sum to less than the threshold, or those of positive score.</summary>
    private int Filled()
    {
        RouterSpec spec = _layout.Spec;
        int filled = spec.TopK;
        if (spec.Selection == Selection.Threshold && spec.Threshold < 1)
        {
            // A NaN is below nothing, so it ends the prefix.
            float threshold = (float)spec.Threshold, mass = _scores[_chosen[0]];
            for (filled = 1; filled < spec.TopK && mass < threshold; filled++)
            {
                mass += _scores[_chosen[filled]];
            }
        }

        else if (spec.Score == ScoreFunction.Relu)
        {
            for (filled = 0; filled < spec.TopK && _scores[_chosen[filled]] > 0f;)
            {
                filled++;
            }
        }

        return filled;
    }

    private void WriteIds(int* ids, int* counts, int filled)
    {
        int runStart = 0;
        new Span<int>(ids + filled, _layout.Spec.TopK - filled).Fill(_layout.EmptyId);
        for (int k = 0; k < filled; k++)
        {
            int column = _chosen[k];
            runStart = k > 0 && _chosen[k - 1] == column ? runStart : k;
            ids[k] = column < _layout.Experts ? column : -1 - _layout.FirstNull(column) - (k - runStart);
            counts[column]++;
        }
    }

    private void WriteWeights(float* logits, int* ids, float* weights)
    {
        RouterSpec spec = _layout.Spec;
        int slots = spec.TopK;
        float scale = (float)spec.Scale, divisor = 1f;
        if (spec.Renormalize == Renormalize.None)
        {
            for (int k = 0; k < slots; k++)
            {
                _values[k] = _scores[_chosen[k]];
            }
        }
        else if (spec.Score == ScoreFunction.Softmax)
        {
            divisor = ChosenSoftmax(_layout, logits, ids, _chosen, _values);
        }
        else
        {
            divisor = ChosenScores(_layout, _scores, ids, _chosen, _values);
        }

        for (int k = 0; k < slots; k++)
        {
            // A zero null has weight 0 whether it takes part in the sum or not; an empty slot takes no part.
            weights[k] = ids[k] == _layout.EmptyId || _layout.IsNull(ids[k], NullKind.Zero) ? 0f : scale * (_values[k] / divisor);
        }
    }

    /// <summary>Whether a chosen slot takes part in the normalising sum.</summary>
    public static bool TakesPart(RouterLayout layout, int id) =>
        id != layout.EmptyId && (layout.Spec.Renormalize == Renormalize.Chosen || !layout.IsNull(id, NullKind.Zero));

    /// <summary>Exponentials of the chosen logits that take part (0 for the others), below their largest, and their sum in rank order.</summary>
    public static float ChosenSoftmax(RouterLayout layout, float* logits, int* ids, int* columns, float* values)
    {
        int slots = layout.Spec.TopK;
        float largest = float.NegativeInfinity;
        for (int k = 0; k < slots; k++)
        {
            values[k] = TakesPart(layout, ids[k]) ? logits[columns[k]] : float.NegativeInfinity;
            largest = MathF.Max(largest, values[k]);
        }

        for (int k = 0; k < slots; k += VectorMath.Lanes)
        {
            Vector256<float> value = VectorMath.Load(values + k, slots - k, float.NegativeInfinity);
            VectorMath.Store(VectorMath.Exp(value - Vector256.Create(largest)), values + k, slots - k);
        }

        return SumInOrder(layout, ids, values);
    }

    /// <summary>The chosen scores that take part (0 for the others), and their sum in rank order plus epsilon.</summary>
    public static float ChosenScores(RouterLayout layout, float* scores, int* ids, int* columns, float* values)
    {
        for (int k = 0; k < layout.Spec.TopK; k++)
        {
            values[k] = scores[columns[k]];
        }

        return SumInOrder(layout, ids, values) + (float)layout.Spec.NormalizeEpsilon;
    }

    private static float SumInOrder(RouterLayout layout, int* ids, float* values)
    {
        float sum = 0;
        for (int k = 0; k < layout.Spec.TopK; k++)
        {
            if (TakesPart(layout, ids[k]))
            {
                sum += values[k];
            }
            else
            {
                values[k] = 0f;
            }
        }

        return sum;
    }
}
