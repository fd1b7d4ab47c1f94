using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Holds the share of slots that hit a real expert at a target, by a bias on the null logits that only the choice sees.</summary>
/// <remarks>
/// <para>The problem: the balance loss alone lets the measured share drift far from rho (at a weight of 0.02 more than half of the
/// saving is lost), and a larger weight changes what is learnt. The choice: after every step each layer's null bias moves by
/// <c>rate * (measured real share - rho)</c>; the bias has no gradient (the auxiliary-loss-free idea of DeepSeek-V3, and the controller
/// of LongCat-Flash), so weights and losses are not touched.</para>
/// <para>Why integral control alone: the share falls as the bias rises, with some slope -s per unit of logit, so the error shrinks by
/// the factor 1 - rate * s per step: no overshoot while rate * s &lt; 1, and half of the error is gone after 0.7 / (rate * s) steps.
/// Router logits with a spread of 0.2 to 2 give s between about 2 and 0.2, so a rate of 0.1 settles within tens to a few hundred
/// steps. A proportional or derivative term would pass batch noise into the choice and would need the previous error in every
/// checkpoint; the whole state of this controller is the bias itself, <see cref="MoeLayer.SelectionBias"/>, which is saved.</para>
/// </remarks>
public sealed class NullRateController
{
    /// <summary>Makes a controller; it has no state of its own.</summary>
    /// <param name="rho">Target share of slots that hit a real expert, in (0, 1].</param>
    /// <param name="rate">Logit per unit of error and step, &gt;= 0; 0 is off.</param>
    /// <exception cref="ArgumentException">A value is out of range.</exception>
    public NullRateController(double rho, double rate)
    {
        Guard.That(rho > 0 && rho <= 1, $"The target share rho is in (0, 1], got {rho}.");
        Guard.That(rate >= 0 && double.IsFinite(rate), $"The controller rate is >= 0 and finite, got {rate}.");
        Rho = rho;
        Rate = rate;
    }

    /// <summary>Target share of slots that hit a real expert.</summary>
    public double Rho { get; }

    /// <summary>Logit per unit of error and step.</summary>
    public double Rate { get; }

    /// <summary>Share of slots that hit a real expert, from the counts, which it reads back. NaN for no tokens.</summary>
    public static double RealShare(RouterSpec spec, GateResult routing)
    {
        int[] counts = routing.Counts.ToArray<int>();
        long real = 0, all = 0;
        for (int column = 0; column < counts.Length; column++)
        {
            real += column < spec.Experts ? counts[column] : 0;
            all += counts[column];
        }

        return (double)real / all;
    }

    /// <summary>Moves the bias of a layer by the routing of its last forward pass.</summary>
    /// <exception cref="ArgumentException">The layer has no selection bias on logits.</exception>
    public void Update(MoeLayer layer, GateResult routing) => Update(layer, RealShare(layer.Options.Router, routing));

    /// <summary>Moves the bias of a layer by a measured real share, for sums over several passes. NaN changes nothing.</summary>
    /// <exception cref="ArgumentException">The layer has no selection bias on logits.</exception>
    public void Update(MoeLayer layer, double realShare)
    {
        RouterSpec spec = layer.Options.Router;
        Guard.That(
            spec.SelectionBias == SelectionBias.Logit && layer.SelectionBias is not null,
            $"The null-rate controller needs a router with SelectionBias.Logit, this one has SelectionBias.{spec.SelectionBias}.");
        if (double.IsNaN(realShare))
        {
            return;
        }

        double[] bias = layer.SelectionBias!.ToDoubles();
        for (int column = spec.Experts; column < bias.Length; column++)
        {
            bias[column] += Rate * (realShare - Rho);
        }

        layer.SelectionBias.FromDoubles(bias);
    }
}
