using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>A regression stream of easy and hard tokens without end: three quarters follow one linear map, the rest one of sixteen small networks.</summary>
/// <remarks>
/// A token is <see cref="Content"/> numbers and a marker of <see cref="Marker"/> that tells easy from hard, as an embedding tells text from image. A hard token
/// lies near one of <see cref="Clusters"/> centres and its target is that cluster's own two-layer tanh network; an easy token's target is a linear map,
/// which a linear path can learn without any expert. Task and tokens are functions of the seed and of the token's number, so that training never sees a token
/// twice and evaluation takes numbers that training does not reach.
/// </remarks>
internal sealed class MixedStream
{
    /// <summary>Kinds of tokens, in the order of their numbers.</summary>
    public static readonly string[] Kinds = ["easy", "hard"];

    /// <summary>Width of a token and of its target.</summary>
    public const int Width = 32;

    /// <summary>Clusters of hard tokens.</summary>
    public const int Clusters = 16;

    /// <summary>Columns of the marker.</summary>
    public const int Marker = 4;

    /// <summary>Other columns.</summary>
    public const int Content = Width - Marker;

    private const int TeacherWidth = 16;
    private const double HardShare = 0.25;
    private const ulong EvaluationStart = 1UL << 40;
    private const int Counters = 64;

    private readonly CounterRandom _tokens;
    private readonly float[] _linear;
    private readonly float[][] _centres;
    private readonly float[][] _inner;
    private readonly float[][] _outer;

    /// <summary>Draws the task of a seed.</summary>
    public MixedStream(ulong seed)
    {
        _tokens = new CounterRandom(seed, Initializer.StreamOf("stream.tokens"));
        _linear = Normal(seed, "stream.linear", Width * Content, 1 / Math.Sqrt(Content));
        _centres = [.. Enumerable.Range(0, Clusters).Select(c => Normal(seed, $"stream.centre.{c}", Content, 1))];
        _inner = [.. Enumerable.Range(0, Clusters).Select(c => Normal(seed, $"stream.inner.{c}", TeacherWidth * Content, 1.5 / Math.Sqrt(Content)))];
        _outer = [.. Enumerable.Range(0, Clusters).Select(c => Normal(seed, $"stream.outer.{c}", Width * TeacherWidth, 1.5 / Math.Sqrt(TeacherWidth)))];
    }

    /// <summary>Training tokens of a step.</summary>
    public void Train(int step, int tokens, Span<float> x, Span<float> target, Span<int> kinds) =>
        Draw((ulong)step * (ulong)tokens, tokens, x, target, kinds);

    /// <summary>Evaluation tokens, which no training step has.</summary>
    public void Evaluate(int tokens, Span<float> x, Span<float> target, Span<int> kinds) => Draw(EvaluationStart, tokens, x, target, kinds);

    private static float[] Normal(ulong seed, string name, int count, double deviation)
    {
        var random = new CounterRandom(seed, Initializer.StreamOf(name));
        return [.. Enumerable.Range(0, count).Select(i => (float)(deviation * random.Normal((ulong)i)))];
    }

    private static void Multiply(float[] matrix, ReadOnlySpan<float> x, Span<float> y)
    {
        for (int row = 0; row < y.Length; row++)
        {
            y[row] = Dot(matrix.AsSpan(row * x.Length, x.Length), x);
        }
    }

    // Scalar and in order: the same bits on every processor.
    private static float Dot(ReadOnlySpan<float> a, ReadOnlySpan<float> b)
    {
        float sum = 0;
        for (int i = 0; i < a.Length; i++)
        {
            sum += a[i] * b[i];
        }

        return sum;
    }

    private void Draw(ulong first, int tokens, Span<float> x, Span<float> target, Span<int> kinds)
    {
        Span<float> inner = stackalloc float[TeacherWidth];
        for (int t = 0; t < tokens; t++)
        {
            ulong counter = (first + (ulong)t) * Counters;
            bool hard = _tokens.Uniform(counter) < HardShare;
            kinds[t] = hard ? 1 : 0;
            int cluster = (int)_tokens.Below(counter + 1, Clusters);
            Span<float> row = x.Slice(t * Width, Width);
            for (int i = 0; i < Content; i++)
            {
                float noise = (float)_tokens.Normal((counter / 2) + 1 + (ulong)i);
                row[i] = hard ? _centres[cluster][i] + (0.5f * noise) : noise;
            }

            row[Content..].Fill(hard ? 1 : -1);
            Span<float> y = target.Slice(t * Width, Width);
            if (hard)
            {
                Multiply(_inner[cluster], row[..Content], inner);
                for (int i = 0; i < TeacherWidth; i++)
                {
                    inner[i] = MathF.Tanh(inner[i]);
                }

                Multiply(_outer[cluster], inner, y);
            }
            else
            {
                Multiply(_linear, row[..Content], y);
            }
        }
    }
}
