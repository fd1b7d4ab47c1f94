using MoeSharp.Core;

namespace MoeSharp.Reference;

/// <content>Gradient of the gate, per slot and then summed into the column that the slot reads.</content>
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    protected override void GateBackwardCore(
        Tensor logits, Tensor ids, Tensor dWeights, Tensor loads, Tensor dBalanceLoss, Tensor dZLoss, RouterSpec spec, Tensor dLogits)
    {
        int tokens = (int)logits.Shape[0];
        Floats(dLogits).Clear();
        for (int t = 0; t < tokens; t++)
        {
            double[] z = SlotLogits(Matrix(logits)[t], spec);
            var dSlots = new double[spec.Slots];
            (int[] chosen, double[] dChosen) = Chosen(ids, dWeights, t, spec);
            AddWeightGradient(z, chosen, dChosen, spec, dSlots);
            AddBalanceGradient(z, Ints(loads), tokens, Floats(dBalanceLoss)[0], spec, dSlots);
            AddZGradient(z, tokens, Floats(dZLoss)[0], dSlots);
            for (int slot = 0; slot < dSlots.Length; slot++)
            {
                Matrix(dLogits)[t, spec.ColumnOf(slot)] += dSlots[slot];
            }
        }
    }

    /// <summary>The filled slots of a token, and the gradients of their weights.</summary>
    private static (int[] Slots, double[] DWeights) Chosen(Tensor ids, Tensor dWeights, int token, RouterSpec spec)
    {
        int[] all = Ints(ids).Slice(token * spec.TopK, spec.TopK).ToArray();
        double[] gradients = Matrix(dWeights)[token].ToArray();
        int[] filled = [.. Enumerable.Range(0, all.Length).Where(i => all[i] != spec.EmptyId)];
        return ([.. filled.Select(i => IdToSlot(all[i], spec))], [.. filled.Select(i => gradients[i])]);
    }

    private static void AddWeightGradient(double[] z, int[] chosen, ReadOnlySpan<double> dWeights, RouterSpec spec, double[] dSlots)
    {
        // The weight of a zero null is the constant 0, whatever comes back for it.
        var g = new double[chosen.Length];
        for (int i = 0; i < g.Length; i++)
        {
            g[i] = IsZeroNull(chosen[i], spec) ? 0 : spec.Scale * dWeights[i];
        }

        if (spec.Score != ScoreFunction.Softmax)
        {
            AddScoreGradient(z, chosen, g, spec, dSlots);
        }
        else if (spec.Renormalize == Renormalize.None)
        {
            // w_i = scale p_i: dz_s = p_s (dp_s - sum_u p_u dp_u) over all slots.
            var dP = new double[z.Length];
            for (int i = 0; i < g.Length; i++)
            {
                dP[chosen[i]] += g[i];
            }

            AddSoftmaxGradient(Softmax(z), dP, dSlots);
        }
        else
        {
            // The same over the included chosen slots only: those left out have share 0.
            double[] share = ChosenShares(z, chosen, spec);
            double mean = Dot(share, g);
            for (int i = 0; i < g.Length; i++)
            {
                dSlots[chosen[i]] += share[i] * (g[i] - mean);
            }
        }
    }

    /// <summary>w_i = scale s_i / D, D = sum of included s + epsilon (or 1): ds_i = g_i / D - sum_j g_j s_j / D^2; dz = ds times the slope.</summary>
    private static void AddScoreGradient(double[] z, int[] chosen, double[] g, RouterSpec spec, double[] dSlots)
    {
        double divisor = 0, product = 0;
        for (int i = 0; i < g.Length; i++)
        {
            double s = ScoreOf(z[chosen[i]], spec);
            divisor += Included(chosen[i], spec) ? s : 0;
            product += g[i] * s;
        }

        divisor += spec.NormalizeEpsilon;
        for (int i = 0; i < g.Length; i++)
        {
            double dS = spec.Renormalize == Renormalize.None ? g[i]
                : Included(chosen[i], spec) ? (g[i] / divisor) - (product / divisor / divisor)
                : 0;
            dSlots[chosen[i]] += dS * SlopeOf(z[chosen[i]], spec);
        }
    }

    /// <summary>L = S sum_s f_s q_s with constant f: dL/dP_ts = S f_s / T.</summary>
    private static void AddBalanceGradient(double[] z, ReadOnlySpan<int> loads, int tokens, double dLoss, RouterSpec spec, double[] dSlots)
    {
        var dP = new double[z.Length];
        for (int slot = 0; slot < z.Length; slot++)
        {
            int column = spec.ColumnOf(slot);

            // Copies of one logit have equal probabilities, so only the load of the column matters, not which copy carries it.
            dP[slot] = dLoss * spec.Slots * ColumnLoad(column, loads, spec) / spec.Copies(column) / tokens;
        }

        double[] p = Probabilities(z, spec);
        if (spec.Score == ScoreFunction.Softmax)
        {
            AddSoftmaxGradient(p, dP, dSlots);
            return;
        }

        if (spec.Score == ScoreFunction.Relu)
        {
            for (int slot = 0; slot < z.Length; slot++)
            {
                dSlots[slot] += dP[slot] * SlopeOf(z[slot], spec);
            }

            return;
        }

        // P_s = s_s / Z, Z = sum of all s: dL/ds_s = (dP_s - sum_u dP_u P_u) / Z.
        double[] s = z.Select(Sigmoid).ToArray();
        double sum = s.Sum(), mean = Dot(dP, p);
        for (int slot = 0; slot < z.Length && sum > 0; slot++)
        {
            dSlots[slot] += (dP[slot] - mean) / sum * s[slot] * (1 - s[slot]);
        }
    }

    /// <summary>L = mean_t lse_t^2: dz_s = 2 lse softmax_s / T.</summary>
    private static void AddZGradient(double[] z, int tokens, double dLoss, double[] dSlots) =>
        AddScaled(dLoss * 2 * LogSumExp(z) / tokens, Softmax(z), dSlots);

    /// <summary>dz_s += p_s (dp_s - sum_u p_u dp_u).</summary>
    private static void AddSoftmaxGradient(double[] p, double[] dP, double[] dZ)
    {
        double mean = Dot(p, dP);
        for (int i = 0; i < p.Length; i++)
        {
            dZ[i] += p[i] * (dP[i] - mean);
        }
    }
}
