using MoeSharp.Core;

namespace MoeSharp.Reference;

/// <content>The gate: scores, choice, weights and statistics, slot by slot, with no shortcut for null copies.</content>
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    protected override void GateCore(Tensor logits, Tensor? selectionBias, RouterSpec spec, GateResult result)
    {
        int tokens = (int)logits.Shape[0];
        double[] bias = selectionBias?.ToDoubles() ?? new double[spec.Columns];
        Floats(result.ProbabilitySums).Clear();
        Ints(result.Counts).Clear();
        Ints(result.ChunkCounts).Clear();
        Ints(result.Loads).Clear();
        Ints(result.Ids).Fill(spec.EmptyId);
        Floats(result.Weights).Clear();
        double squares = 0;
        for (int t = 0; t < tokens; t++)
        {
            double[] z = SlotLogits(Matrix(logits)[t], spec);
            int[] chosen = Filled(Choose(SelectionScores(z, bias, spec), spec), z, spec);
            double[] weights = CombineWeights(z, chosen, spec);
            if (result.TopCounts is not null && chosen.Length > 0)
            {
                Ints(result.TopCounts)[spec.ColumnOf(chosen[0])]++;
            }

            for (int i = 0; i < chosen.Length; i++)
            {
                Ints(result.Ids)[(t * spec.TopK) + i] = SlotToId(chosen[i], spec);
                Matrix(result.Weights)[t, i] = weights[i];
                Ints(result.Counts)[spec.ColumnOf(chosen[i])]++;
                if (chosen[i] < spec.Experts)
                {
                    Ints(result.ChunkCounts)[(t / RoutingPlan.ChunkTokens * spec.Experts) + chosen[i]]++;
                }
            }

            AddProbabilities(Probabilities(z, spec), spec, Floats(result.ProbabilitySums));
            squares += Math.Pow(LogSumExp(z), 2);
        }

        Floats(result.BalanceLoss)[0] = BalanceLoss(Ints(result.Loads), Floats(result.ProbabilitySums), tokens, spec);
        Floats(result.ZLoss)[0] = tokens == 0 ? 0 : squares / tokens;
    }

    /// <inheritdoc/>
    protected override void BalanceLossCore(
        Tensor loads, Tensor otherLoads, Tensor probabilitySums, int tokens, RouterSpec spec, Tensor stepLoads, Tensor balanceLoss)
    {
        for (int column = 0; column < spec.Columns; column++)
        {
            Ints(stepLoads)[column] = Ints(loads)[column] + Ints(otherLoads)[column];
        }

        Floats(balanceLoss)[0] = BalanceLoss(Ints(stepLoads), Floats(probabilitySums), tokens, spec);
    }

    /// <summary>One logit per slot: a shared null logit is repeated for each of its copies.</summary>
    private static double[] SlotLogits(ReadOnlySpan<double> columns, RouterSpec spec)
    {
        var z = new double[spec.Slots];
        for (int slot = 0; slot < z.Length; slot++)
        {
            z[slot] = columns[spec.ColumnOf(slot)];
        }

        return z;
    }

    /// <summary>
    /// What the choice compares. Softmax: the logit (plus a logit bias), or probability plus a score bias;
    /// sigmoid: sigmoid(logit + logit bias), or sigmoid(logit) + score bias.
    /// </summary>
    private static double[] SelectionScores(double[] z, double[] bias, RouterSpec spec)
    {
        double[] p = spec.Score == ScoreFunction.Softmax ? Softmax(z) : [];
        var scores = new double[z.Length];
        for (int slot = 0; slot < z.Length; slot++)
        {
            double b = bias[spec.ColumnOf(slot)];
            scores[slot] = (spec.Score, spec.SelectionBias) switch
            {
                (ScoreFunction.Softmax, SelectionBias.Score) => p[slot] + b,
                (ScoreFunction.Softmax, _) => z[slot] + b,
                (ScoreFunction.Sigmoid, SelectionBias.Score) => Sigmoid(z[slot]) + b,
                (ScoreFunction.Relu, _) => z[slot],
                _ => Sigmoid(z[slot] + b),
            };
        }

        return scores;
    }

    /// <summary>The K allowed slots of largest score in rank order; equal scores: the lower slot; NaN below every number.</summary>
    private static int[] Choose(double[] scores, RouterSpec spec)
    {
        bool[] free = AllowedSlots(scores, spec);
        var chosen = new int[spec.TopK];
        for (int rank = 0; rank < chosen.Length; rank++)
        {
            chosen[rank] = Largest(scores, free);
            free[chosen[rank]] = false;
        }

        return chosen;
    }

    /// <summary>The ranks that are kept: all, or those with a positive ReLU score, or those before which the probabilities sum to less than the threshold; the first always.</summary>
    private static int[] Filled(int[] ranked, double[] z, RouterSpec spec)
    {
        if (spec.Score == ScoreFunction.Relu)
        {
            return [.. ranked.TakeWhile(slot => z[slot] > 0)];
        }

        if (spec.Selection == Selection.TopK || spec.Threshold >= 1)
        {
            return ranked;
        }

        double[] p = Probabilities(z, spec);
        double before = p[ranked[0]];
        int filled = 1;
        while (filled < ranked.Length && before < spec.Threshold)
        {
            before += p[ranked[filled++]];
        }

        return ranked[..filled];
    }

    /// <summary>Null slots, and the experts of the groups that are kept; an expert outside them cannot be chosen whatever its score.</summary>
    private static bool[] AllowedSlots(double[] scores, RouterSpec spec)
    {
        int size = spec.Experts / spec.GroupCount;
        var groupScores = new double[spec.GroupCount];
        for (int group = 0; group < spec.GroupCount; group++)
        {
            groupScores[group] = GroupScoreOf(scores.AsSpan(group * size, size), spec.GroupScore);
        }

        bool[] dropped = Enumerable.Repeat(true, spec.GroupCount).ToArray();
        for (int i = 0; i < spec.GroupsKept; i++)
        {
            dropped[Largest(groupScores, dropped)] = false;
        }

        return Enumerable.Range(0, spec.Slots).Select(slot => slot >= spec.Experts || !dropped[slot / size]).ToArray();
    }

    /// <summary>The best score of a group, or the sum of its two best.</summary>
    private static double GroupScoreOf(ReadOnlySpan<double> scores, GroupScore rule)
    {
        double[] all = scores.ToArray();
        bool[] free = Enumerable.Repeat(true, all.Length).ToArray();
        int best = Largest(all, free);
        if (rule == GroupScore.Max || all.Length == 1)
        {
            return all[best];
        }

        free[best] = false;
        return all[best] + all[Largest(all, free)];
    }

    /// <summary>The lowest free index of the largest score; NaN counts below negative infinity.</summary>
    private static int Largest(double[] scores, bool[] free)
    {
        int best = -1;
        for (int i = 0; i < scores.Length; i++)
        {
            bool better = best < 0 || scores[i] > scores[best] || (double.IsNaN(scores[best]) && !double.IsNaN(scores[i]));
            if (free[i] && better)
            {
                best = i;
            }
        }

        return best;
    }

    /// <summary>
    /// scale * s / D for chosen slots, 0 for zero nulls. Softmax scores: D = 1, or a softmax over the included chosen logits;
    /// sigmoid scores: D = 1, or the sum over the included chosen slots plus epsilon.
    /// </summary>
    private static double[] CombineWeights(double[] z, int[] chosen, RouterSpec spec)
    {
        double[] share = ChosenShares(z, chosen, spec);
        for (int i = 0; i < chosen.Length; i++)
        {
            share[i] = IsZeroNull(chosen[i], spec) ? 0 : spec.Scale * share[i];
        }

        return share;
    }

    /// <summary>s / D per chosen slot; 0 for those that <see cref="Included"/> leaves out of D.</summary>
    private static double[] ChosenShares(double[] z, int[] chosen, RouterSpec spec)
    {
        var share = new double[chosen.Length];
        int[] included = Enumerable.Range(0, chosen.Length).Where(i => Included(chosen[i], spec)).ToArray();
        double[] values = included.Select(i => z[chosen[i]]).ToArray();
        double[] shares;
        if (spec.Score != ScoreFunction.Softmax)
        {
            double[] s = values.Select(x => ScoreOf(x, spec)).ToArray();
            double divisor = spec.Renormalize == Renormalize.None ? 1 : s.Sum() + spec.NormalizeEpsilon;
            shares = s.Select(x => x / divisor).ToArray();
        }
        else if (spec.Renormalize == Renormalize.None)
        {
            double[] p = Softmax(z);
            shares = included.Select(i => p[chosen[i]]).ToArray();
        }
        else
        {
            shares = Softmax(values);
        }

        for (int i = 0; i < included.Length; i++)
        {
            share[included[i]] = shares[i];
        }

        return share;
    }

    /// <summary>Whether a chosen slot takes part in the sum that the weights are divided by.</summary>
    private static bool Included(int slot, RouterSpec spec) =>
        spec.Renormalize != Renormalize.ChosenExceptZero || !IsZeroNull(slot, spec);

    private static bool IsZeroNull(int slot, RouterSpec spec) =>
        slot >= spec.Experts && spec.KindOf(slot - spec.Experts) == NullKind.Zero;

    /// <summary>Sigmoid or ReLU of a logit; a ReLU of NaN is 0.</summary>
    private static double ScoreOf(double z, RouterSpec spec) => spec.Score == ScoreFunction.Sigmoid ? Sigmoid(z) : z > 0 ? z : 0;

    /// <summary>Its derivative, 0 where a ReLU bends.</summary>
    private static double SlopeOf(double z, RouterSpec spec) =>
        spec.Score == ScoreFunction.Sigmoid ? Sigmoid(z) * (1 - Sigmoid(z)) : z > 0 ? 1 : 0;

    /// <summary>Probabilities of the statistics: the softmax, sigmoid scores divided by their sum over all slots (0 when all underflow), or ReLU scores.</summary>
    private static double[] Probabilities(double[] z, RouterSpec spec)
    {
        if (spec.Score == ScoreFunction.Softmax)
        {
            return Softmax(z);
        }

        double[] s = z.Select(x => ScoreOf(x, spec)).ToArray();
        if (spec.Score == ScoreFunction.Relu)
        {
            return s;
        }

        double sum = s.Sum();
        return s.Select(x => sum == 0 ? 0 : x / sum).ToArray();
    }

    /// <summary>Adds the probability of one copy per column: that of the first slot that reads the column.</summary>
    private static void AddProbabilities(double[] p, RouterSpec spec, Span<double> sums)
    {
        for (int slot = 0, last = -1; slot < p.Length; slot++)
        {
            int column = spec.ColumnOf(slot);
            sums[column] += column == last ? 0 : p[slot];
            last = column;
        }
    }

    /// <summary>S * sum over slots of f_s q_s, f_s = load_s / sum of all loads, q_s = mean probability.</summary>
    private static double BalanceLoss(ReadOnlySpan<int> loads, ReadOnlySpan<double> probabilitySums, int tokens, RouterSpec spec)
    {
        double sum = 0;
        for (int column = 0; column < spec.Columns && tokens > 0; column++)
        {
            sum += ColumnLoad(column, loads, spec) * probabilitySums[column] / tokens;
        }

        return spec.Slots * sum;
    }

    /// <summary>Sum of f_s over the slots of a column; with <see cref="NullBalance.Average"/> every null slot has the mean null f.</summary>
    private static double ColumnLoad(int column, ReadOnlySpan<int> loads, RouterSpec spec)
    {
        double slots = 0;
        foreach (int load in loads)
        {
            slots += load;
        }

        // A ReLU router may fire nothing.
        slots = Math.Max(1, slots);
        if (column < spec.Experts || spec.NullBalance == NullBalance.PerSlot)
        {
            return loads[column] / slots;
        }

        double nulls = 0;
        for (int c = spec.Experts; c < spec.Columns; c++)
        {
            nulls += loads[c];
        }

        return spec.Copies(column) * (nulls / slots / spec.NullSlots);
    }

    /// <summary>exp(z_i) / sum of exp(z_j), computed around the largest z.</summary>
    private static double[] Softmax(double[] z)
    {
        double largest = z.DefaultIfEmpty(0).Max();
        double[] exponentials = Array.ConvertAll(z, x => Math.Exp(x - largest));
        double sum = exponentials.Sum();
        return Array.ConvertAll(exponentials, x => x / sum);
    }

    /// <summary>Slot number to id: a real expert as it is, null slot j as -1-j.</summary>
    private static int SlotToId(int slot, RouterSpec spec) => slot < spec.Experts ? slot : spec.Experts - 1 - slot;

    private static int IdToSlot(int id, RouterSpec spec) => id >= 0 ? id : spec.Experts - 1 - id;
}
