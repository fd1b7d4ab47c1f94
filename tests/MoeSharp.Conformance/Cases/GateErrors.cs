using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>Error bounds of the gate in float32.</summary>
/// <remarks>
/// A score or probability is exp of a rounded difference (error at most the spread of the logits, in units u), divided by a sum of
/// at most S positive terms: relative error gamma(S + 2 spread + 2 functions). Gradients are sums of products of those, so the
/// magnitudes below repeat the formulas of the gradient with every minus turned into a plus.
/// </remarks>
public sealed class GateErrors
{
    private readonly RouterSpec _spec;
    private readonly int _tokens;
    private readonly double[] _logits;
    private readonly double _relative;

    public GateErrors(RouterSpec spec, int tokens, double[] logits)
    {
        (_spec, _tokens, _logits) = (spec, tokens, logits);
        double spread = logits.Length == 0 ? 0 : 2 * logits.Max(Math.Abs);
        _relative = Tolerance.Gamma(spec.Slots + (2 * spread) + (2 * Tolerance.Function) + 8);
    }

    /// <summary>Bounds of weights, statistics and losses.</summary>
    public Dictionary<string, double[]> Forward(OpRun run)
    {
        double z = 0;
        for (int t = 0; t < _tokens; t++)
        {
            double lse = Math.Abs(LogSumExp(t));
            z += 2 * lse * ZError(lse) / _tokens;
        }

        double sums = _relative + Tolerance.Gamma(_tokens + _spec.Columns + 8);
        return new()
        {
            ["weights"] = Array.ConvertAll(run["weights"], w => 2 * _relative * Math.Abs(w)),
            ["probabilitySums"] = Array.ConvertAll(run["probabilitySums"], p => sums * p),
            ["balanceLoss"] = [sums * run["balanceLoss"][0]],
            ["zLoss"] = [z + (Tolerance.Gamma(_tokens + 4) * run["zLoss"][0])],
        };
    }

    /// <summary>Bound of the gradient of the logits.</summary>
    public double[] Backward(OpRun run, double dBalance, double dZ)
    {
        var bounds = new double[_tokens * _spec.Columns];
        double[] load = Loads(run["loads"]);
        for (int t = 0; t < _tokens; t++)
        {
            double[] slots = new double[_spec.Slots], s = Scores(t), p = IsRelu ? s : Normalised(s), softmax = Normalised(Exponentials(t));
            AddWeights(run, t, s, p, slots);
            double mean = 0;
            for (int slot = 0; slot < slots.Length; slot++)
            {
                mean += load[slot] * p[slot];
            }

            double lse = Math.Abs(LogSumExp(t)), zError = ZError(lse) / _relative;
            for (int slot = 0; slot < slots.Length; slot++)
            {
                slots[slot] += dBalance * (IsRelu ? load[slot] : p[slot] * (load[slot] + mean));
                slots[slot] += dZ * 2 / _tokens * softmax[slot] * (lse + zError);
                bounds[(t * _spec.Columns) + _spec.ColumnOf(slot)] += (3 * _relative * slots[slot]) + Tolerance.Tiny;
            }
        }

        return bounds;
    }

    private void AddWeights(OpRun run, int t, double[] s, double[] p, double[] slots)
    {
        int[] filled = [.. Enumerable.Range(t * _spec.TopK, _spec.TopK).Where(i => (int)run["ids"][i] != _spec.EmptyId)];
        int[] chosen = [.. filled.Select(i => (int)run["ids"][i]).Select(id => id >= 0 ? id : _spec.Experts - 1 - id)];
        double[] g = [.. chosen.Select((slot, i) => IsZero(slot) ? 0 : Math.Abs(_spec.Scale * run["dWeights"][filled[i]]))];
        bool[] included = [.. chosen.Select(slot => _spec.Renormalize != Renormalize.ChosenExceptZero || !IsZero(slot))];
        double divisor = _spec.Renormalize == Renormalize.None
            ? _spec.Score == ScoreFunction.Softmax ? s.Sum() : 1
            : chosen.Where((_, i) => included[i]).Sum(slot => s[slot]) + _spec.NormalizeEpsilon;
        double mean = chosen.Select((slot, i) => g[i] * s[slot] / divisor).Sum();
        if (_spec.Renormalize == Renormalize.None && _spec.Score == ScoreFunction.Softmax)
        {
            for (int slot = 0; slot < slots.Length; slot++)
            {
                slots[slot] += p[slot] * mean;
            }
        }

        for (int i = 0; i < chosen.Length; i++)
        {
            slots[chosen[i]] += included[i] ? (IsRelu ? 1 : s[chosen[i]]) / divisor * (g[i] + mean) : 0;
        }
    }

    /// <summary>S f_s / T per slot: what the balance loss pulls on each probability.</summary>
    private double[] Loads(double[] loads)
    {
        double nulls = loads.Skip(_spec.Experts).Sum(), all = Math.Max(1, loads.Sum());
        return
        [
            .. Enumerable.Range(0, _spec.Slots).Select(slot =>
            {
                int column = _spec.ColumnOf(slot);
                bool average = slot >= _spec.Experts && _spec.NullBalance == NullBalance.Average;
                double count = average ? nulls / _spec.NullSlots : loads[column] / _spec.Copies(column);
                return _spec.Slots * count / all / Math.Max(1, _tokens);
            }),
        ];
    }

    private bool IsRelu => _spec.Score == ScoreFunction.Relu;

    private bool IsZero(int slot) => slot >= _spec.Experts && _spec.KindOf(slot - _spec.Experts) == NullKind.Zero;

    /// <summary>Error of a log-sum-exp: the relative error of the sum, and the roundings of the result.</summary>
    private double ZError(double lse) => _relative + (4 * Tolerance.U * lse);

    private double Logit(int t, int slot) => _logits[(t * _spec.Columns) + _spec.ColumnOf(slot)];

    private double[] Exponentials(int t) => [.. Enumerable.Range(0, _spec.Slots).Select(slot => Math.Exp(Logit(t, slot)))];

    private double[] Scores(int t) => _spec.Score == ScoreFunction.Softmax
        ? Exponentials(t)
        : [.. Enumerable.Range(0, _spec.Slots).Select(slot => IsRelu ? Math.Max(0, Logit(t, slot)) : Activation.Sigmoid(Logit(t, slot)))];

    private double LogSumExp(int t) => Math.Log(Exponentials(t).Sum());

    private static double[] Normalised(double[] values)
    {
        double sum = values.Sum();
        return Array.ConvertAll(values, x => x / sum);
    }
}
