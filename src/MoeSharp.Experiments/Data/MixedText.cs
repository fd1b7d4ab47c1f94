using System.Globalization;
using System.Text;
using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>Text of four kinds that the program writes itself: prose, code, sums and noise, in paragraphs of one kind each.</summary>
/// <remarks>
/// The kinds differ in how much there is to learn: prose has words and a grammar, code has structure and names that come again, the result of a sum can be
/// computed, and noise has nothing in it at all, so whatever is spent on it is wasted. Everything is a function of the seed.
/// </remarks>
internal sealed class MixedText
{
    /// <summary>Kinds of text, in the order of their numbers.</summary>
    public static readonly string[] Kinds = ["prose", "code", "sums", "noise"];

    private static readonly string[] s_nouns =
        ["river", "lantern", "teacher", "harbour", "winter", "machine", "garden", "letter", "mountain", "window", "sailor", "market", "bridge", "village", "engine", "forest"];

    private static readonly string[] s_verbs =
        ["carries", "forgets", "follows", "builds", "watches", "answers", "repairs", "crosses", "remembers", "leaves", "finds", "opens"];

    private static readonly string[] s_adjectives = ["old", "quiet", "bright", "distant", "narrow", "patient", "heavy", "small", "northern", "wooden", "sudden", "kind"];

    private static readonly string[] s_joins = ["because", "while", "although", "before", "until", "where"];

    private static readonly string[] s_names = ["count", "total", "index", "value", "left", "right", "node", "sum", "limit", "step"];

    private readonly CounterRandom _random;
    private ulong _counter;

    private MixedText(ulong seed, string stream) => _random = new CounterRandom(seed, Initializer.StreamOf(stream));

    /// <summary>Writes at least so many bytes, and the kind of each.</summary>
    /// <param name="seed">Seed of the text.</param>
    /// <param name="stream">Another name gives other text: training and evaluation.</param>
    /// <param name="bytes">Length of the result.</param>
    public static (byte[] Text, int[] Kinds) Write(ulong seed, string stream, int bytes)
    {
        var writer = new MixedText(seed, "text." + stream);
        var text = new StringBuilder(bytes + 512);
        var kinds = new List<int>(bytes + 512);
        while (text.Length < bytes)
        {
            int kind = (int)writer.Below(Kinds.Length);
            int until = text.Length + 160;
            while (text.Length < until)
            {
                text.Append(kind switch { 0 => writer.Sentence(), 1 => writer.Function(), 2 => writer.Sum(), _ => writer.Noise() });
            }

            text.Append('\n');
            while (kinds.Count < text.Length)
            {
                kinds.Add(kind);
            }
        }

        return (Encoding.ASCII.GetBytes(text.ToString(0, bytes)), [.. kinds.Take(bytes)]);
    }

    private long Below(long bound) => _random.Below(_counter++, bound);

    // Zipf's law, roughly: the square of a uniform number prefers the first words.
    private string Word(string[] words)
    {
        double u = _random.Uniform(_counter++);
        return words[(int)(u * u * words.Length)];
    }

    private string NounPhrase() => "the " + (Below(2) == 0 ? Word(s_adjectives) + " " : string.Empty) + Word(s_nouns);

    private string Clause() => $"{NounPhrase()} {Word(s_verbs)} {NounPhrase()}";

    private string Sentence()
    {
        string clause = Clause();
        string rest = Below(3) == 0 ? $" {Word(s_joins)} {Clause()}" : string.Empty;
        return $"{char.ToUpperInvariant(clause[0])}{clause[1..]}{rest}. ";
    }

    private string Function()
    {
        (string a, string b) = (Word(s_names), Word(s_names));
        string loop = Below(2) == 0 ? $"    for (int i = 0; i < {a}; i++)\n    {{\n        {b} += i * {Below(10)};\n    }}\n" : $"    if ({a} > {Below(100)})\n    {{\n        {b} = {a} - 1;\n    }}\n";
        return $"int {Word(s_verbs)}(int {a}, int {b})\n{{\n{loop}    return {b};\n}}\n";
    }

    private string Sum()
    {
        (long a, long b) = (Below(100), Below(100));
        return string.Create(CultureInfo.InvariantCulture, $"{a}+{b}={a + b}\n");
    }

    private string Noise()
    {
        const string Letters = "abcdefghijklmnopqrstuvwxyz0123456789";
        return string.Concat(Enumerable.Range(0, 40).Select(_ => Letters[(int)Below(Letters.Length)])) + "\n";
    }
}
