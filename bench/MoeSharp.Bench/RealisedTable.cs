using System.Globalization;
using System.Text;
using MoeSharp.Autograd;
using MoeSharp.Core;
using MoeSharp.Cpu;
using MoeSharp.Profiling;

namespace MoeSharp.Bench;

/// <summary>Whether the work that a router saves on paper is saved on the clock: time of the expert part against its counted FLOPs.</summary>
/// <remarks>
/// The problem: an implementation that pads every expert to a capacity counts fewer FLOPs for a lower threshold and takes as long as before. The
/// measure: (time / time of the densest setting) / (FLOPs / its FLOPs), 1 when every saved FLOP saves its share of the time. The expert
/// part is dispatch, experts and combine, FLOPs are 6 R d n forward and 12 R d n backward. Threshold routings are those of the gate on
/// normal logits, null routings are drawn; settings take turns (<see cref="Rounds"/>).
/// </remarks>
internal static class RealisedTable
{
    /// <summary>Largest ratio that counts as realised.</summary>
    public const double Limit = 1.25;

    // Logits of a trained router are sharper than those of a new one. With this deviation a token of 16 experts collects 0.9 with about 7 of them.
    private const double LogitDeviation = 1.5;
    private static readonly double[] s_thresholds = [1, 0.9, 0.7, 0.5, 0.3];
    private static readonly double[] s_rhos = [1, 0.67, 0.5, 0.25];

    /// <summary>A sweep of the threshold of N experts that share a total width.</summary>
    /// <returns>Markdown, and the largest ratio.</returns>
    public static (string Text, double Worst) Threshold(int tokens, int hidden, int experts, int totalWidth, int rounds)
    {
        using var backend = new CpuBackend();
        var shape = new ProfileShape("threshold", tokens, hidden, totalWidth / experts, experts, experts);
        return Measure(backend, shape, "t", rounds, [.. s_thresholds.Select(t => (t, new ProfiledLayer(backend, shape, Route(backend, shape, t))))]);
    }

    /// <summary>A sweep of rho.</summary>
    /// <returns>Markdown, and the largest ratio.</returns>
    public static (string Text, double Worst) Nulls(int tokens, int hidden, int width, int experts, int topK, int rounds)
    {
        using var backend = new CpuBackend();
        var shape = new ProfileShape("nulls", tokens, hidden, width, experts, topK);
        return Measure(backend, shape, "rho", rounds, [.. s_rhos.Select(rho => (rho, new ProfiledLayer(backend, shape with { Rho = rho })))]);
    }

    private static int[] Route(CpuBackend backend, ProfileShape shape, double threshold)
    {
        RouterSpec spec = RouterSpec.WithThreshold(shape.Experts, threshold, shape.Experts);
        using var scope = new TensorScope();
        Tensor logits = new Initializer(backend, seed: 1).Normal("logits", LogitDeviation, shape.Tokens, shape.Experts);
        GateResult gate = GateResult.Create(backend, shape.Tokens, spec);
        backend.Gate(logits, null, spec, gate);
        int[] ids = gate.Ids.ToArray<int>();
        logits.Dispose();
        return ids;
    }

    private static (string Text, double Worst) Measure(
        CpuBackend backend, ProfileShape shape, string name, int rounds, (double Value, ProfiledLayer Layer)[] settings)
    {
        try
        {
            double[][] forward = Rounds.Measure(rounds, [.. settings.Select(setting => (Action)(() => Forward(setting.Layer)))]);
            double[][] backward = Rounds.Measure(rounds, [.. settings.Select(setting => (Action)(() => Backward(setting.Layer)))]);
            var text = new StringBuilder();
            text.Append(CultureInfo.InvariantCulture, $"T={shape.Tokens} d={shape.Hidden} n={shape.ExpertWidth} E={shape.Experts} K={shape.TopK}, fp32, {backend.Threads} threads, median of {rounds} rounds\n\n");
            text.Append(CultureInfo.InvariantCulture, $"| {name} | experts per token | width per token | FLOPs | forward ms | time | time / FLOPs | backward ms | time | time / FLOPs |\n");
            text.Append("|---|---|---|---|---|---|---|---|---|---|\n");
            double worst = 0;
            for (int i = 0; i < settings.Length; i++)
            {
                double mean = (double)settings[i].Layer.Rows / shape.Tokens, flops = (double)settings[i].Layer.Rows / settings[0].Layer.Rows;
                double f = Rounds.Ratio(forward[i], forward[0]), b = Rounds.Ratio(backward[i], backward[0]);
                worst = Math.Max(worst, Math.Max(f, b) / flops);
                text.Append(CultureInfo.InvariantCulture, $"| {settings[i].Value} | {mean:F2} | {mean * shape.ExpertWidth:F0} | {flops:F3} | {Rounds.Median(forward[i]) * 1e3:F1} | {f:F3} | {f / flops:F2} | {Rounds.Median(backward[i]) * 1e3:F1} | {b:F3} | {b / flops:F2} |\n");
            }

            return (text.ToString(), worst);
        }
        finally
        {
            Array.ForEach(settings, setting => setting.Layer.Dispose());
        }
    }

    private static void Forward(ProfiledLayer layer)
    {
        layer.Dispatch();
        layer.ExpertsForward();
        layer.Combine();
    }

    private static void Backward(ProfiledLayer layer)
    {
        layer.ExpertsBackward();
        layer.CombineBackward();
    }
}
