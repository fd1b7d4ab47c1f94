using MoeSharp.Cli;

namespace MoeSharp.Tests;

/// <summary>Numbers as a healthy run writes them: falling loss, null share settling on its target, experts evening out.</summary>
internal static class SyntheticRun
{
    public const string HostileText = "if (a < b && c > \"d\") { x = '</pre><script>alert(1)</script>'; }\n\té\u0001\u2028]]>\n";

    public static ReportData Data(int steps = 600, int layers = 4, int experts = 8, double target = 0.5)
    {
        var random = new Random(7);
        double Noise(double size) => (random.NextDouble() - 0.5) * size;
        double Fade(int step, double speed) => Math.Exp(-step / (steps * speed));
        string[] classes = ["letters", "digits", "punctuation", "white space", "indentation", "line ends"];
        double[] classBase = [0.38, 0.45, 0.52, 0.58, 0.86, 0.63];
        var log = new List<ReportStep>();
        var evaluations = new List<ReportEvaluation>();
        for (int step = 1; step <= steps; step++)
        {
            double loss = 2.2 + (5.8 * Fade(step, 0.08)) + (0.5 * Fade(step, 0.5)) + Noise(0.2);
            IReadOnlyList<IReadOnlyList<double>> load =
            [
                .. Enumerable.Range(0, layers).Select(layer => (IReadOnlyList<double>)Normalize(
                    [.. Enumerable.Range(0, experts).Select(e =>
                        Math.Exp((Math.Sin((e * 2.1) + layer) * 1.5 * Fade(step, 0.25)) + Noise(0.3)))])),
            ];
            double[] nulls = [.. Enumerable.Range(0, layers).Select(layer => target + ((0.25 - (layer * 0.12)) * Fade(step, 0.1)) + Noise(0.02))];
            log.Add(new(step, loss, 1e-3 * Math.Min(1, step / 40.0) * (0.55 + (0.45 * Math.Cos(Math.PI * step / steps))), 0.6 + Noise(0.4), 9000 + Noise(900), nulls, load, [.. nulls.Select(share => 4 * (1 - share))]));
            if (step % Math.Max(1, steps / 12) == 0)
            {
                evaluations.Add(new(step, loss + 0.08, [.. classBase.Select(c => target + ((c - 0.5) * (1 - Fade(step, 0.2))) + Noise(0.02))],
                    [.. Enumerable.Range(0, layers).Select(layer => (IReadOnlyList<double>)[.. classBase.Select((c, kind) => kind == 1 ? double.NaN : (4 * (1 - c)) + (0.1 * layer))])],
                    [.. Enumerable.Range(0, layers).Select(layer => (IReadOnlyList<double>)[.. Enumerable.Range(0, experts * classes.Length).Select(i => (double)(((i * 7) + layer) % 11))])]));
            }
        }

        double final = evaluations[^1].BitsPerByte;
        ReportYardstick[] rows =
        [
            new("this model", final, true), new("order-0 n-gram", 4.83, false), new("order-1 n-gram", 3.71, false),
            new("order-2 n-gram", 2.95, false), new("order-3 n-gram", 2.61, false), new("order-4 n-gram", 2.49, false),
            new("gzip", 2.31, false), new("brotli", 1.98, false),
        ];
        return new ReportData
        {
            Name = "20260101-120000",
            Summary = "4 layers, 8 experts of width 96, top-4, data sparsity 0.5, 1.1 M parameters",
            Figures =
            [
                new("validation", $"{final:F3}", "bits per byte"),
                new("null share", "49.6%", "configured 50.0%"),
                new("real experts per token", "2.02", "of 4 slots per layer"),
                new("throughput", "9,120", "tokens per second"),
            ],
            Configuration = [("preset", "small"), ("experts", "8"), ("top-k", "4"), ("data", "src"), ("seed", "0")],
            Steps = log,
            Evaluations = evaluations,
            Classes = classes,
            Yardsticks = [.. rows.OrderBy(row => row.BitsPerByte)],
            NullTarget = target,
            Slots = 4,
            Sample = Text(layers),
            Excerpt = Text(layers),
        };
    }

    /// <summary>The hostile text; a letter uses many experts, a blank few, and each layer one less than the one before.</summary>
    private static ReportText Text(int layers)
    {
        byte[] bytes = System.Text.Encoding.UTF8.GetBytes(HostileText);
        return ReportText.From(bytes, [.. Enumerable.Range(0, layers).Select(layer => (IReadOnlyList<double>)
            [.. bytes.Select(b => (double)Math.Max(0, (char.IsAsciiLetter((char)b) ? 4 : b == ' ' ? 2 : 1) - layer))])]);
    }

    private static double[] Normalize(double[] values)
    {
        double sum = values.Sum();
        return [.. values.Select(v => v / sum)];
    }
}
