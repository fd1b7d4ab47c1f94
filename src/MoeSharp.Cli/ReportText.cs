using System.Buffers;
using System.Text;

namespace MoeSharp.Cli;

/// <summary>How many real experts each character of a text used, seen in one way.</summary>
/// <param name="Name">What is seen: all layers, or one.</param>
/// <param name="Experts">Per character, real experts per layer; NaN when unknown.</param>
internal sealed record ReportView(string Name, IReadOnlyList<double> Experts);

/// <summary>A text that a model read or wrote, with the real experts that its characters used.</summary>
/// <param name="Characters">The text, cut into characters, as a reader can see them.</param>
/// <param name="Views">Ways to see it, the summary first; none when nothing is known.</param>
internal sealed record ReportText(IReadOnlyList<string> Characters, IReadOnlyList<ReportView> Views)
{
    /// <summary>Most layers that get a view of their own; of deeper models some, evenly spaced.</summary>
    public const int MaxLayers = 12;

    /// <summary>Views that a text can have.</summary>
    public const int MaxViews = MaxLayers + 1;

    /// <summary>No text.</summary>
    public static ReportText Empty { get; } = new([], []);

    /// <summary>Whether some character used more experts than another.</summary>
    public bool Varies => Views.Any(view => view.Experts.Where(double.IsFinite).Distinct().Skip(1).Any());

    /// <summary>Cuts bytes into characters, each with the mean of its bytes.</summary>
    /// <param name="text">Bytes, UTF-8 or not.</param>
    /// <param name="experts">Real experts per layer and byte; a missing number is NaN.</param>
    public static ReportText From(ReadOnlySpan<byte> text, IReadOnlyList<IReadOnlyList<double>> experts)
    {
        var characters = new List<string>();
        var means = new List<double>[experts.Count];
        for (int layer = 0; layer < means.Length; layer++)
        {
            means[layer] = [];
        }

        for (int at = 0; at < text.Length;)
        {
            bool valid = Rune.DecodeFromUtf8(text[at..], out Rune rune, out int used) == OperationStatus.Done;
            used = valid ? used : 1;
            characters.Add(valid ? VisibleText.Of(rune) : VisibleText.Of(text[at]));
            for (int layer = 0; layer < means.Length; layer++)
            {
                double sum = 0;
                for (int i = at; i < at + used; i++)
                {
                    sum += i < experts[layer].Count ? experts[layer][i] : double.NaN;
                }

                means[layer].Add(sum / used);
            }

            at += used;
        }

        return new ReportText(characters, ViewsOf(means, characters.Count));
    }

    private static IReadOnlyList<ReportView> ViewsOf(List<double>[] layers, int characters)
    {
        if (layers.Length == 0 || characters == 0)
        {
            return [];
        }

        int shown = Math.Min(layers.Length, MaxLayers);
        IEnumerable<int> some = Enumerable.Range(0, shown).Select(i => shown == 1 ? 0 : (int)Math.Round((double)i * (layers.Length - 1) / (shown - 1)));
        return
        [
            new("all layers", [.. Enumerable.Range(0, characters).Select(i => layers.Average(layer => layer[i]))]),
            .. layers.Length == 1 ? [] : some.Select(layer => new ReportView(ReportCharts.LayerName(layer), layers[layer])),
        ];
    }
}
