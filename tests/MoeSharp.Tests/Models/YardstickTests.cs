using MoeSharp.Core;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

public sealed class YardstickTests
{
    [Fact]
    public void OrderZero_OnIndependentBytes_ReachesTheirEntropy()
    {
        byte[] train = Samples.Uniform(200_000, 64, seed: 1), test = Samples.Uniform(50_000, 64, seed: 2);
        double bits = new NgramModel(train, 0).BitsPerByte(test)[0];

        // Entropy log2 64 = 6; the estimate of 64 probabilities from n bytes costs about (64 - 1) / (2 n ln 2) bits, the escape mass 64 / n.
        // The measured mean differs by rounding only, because all probabilities are near 1/64.
        Assert.InRange(bits, 6, 6.002);
    }

    [Fact]
    public void OrderZero_OnSkewedBytes_ReachesTheirEntropy()
    {
        // 0 with probability 1/2, 1 with 1/4, 2 and 3 with 1/8: entropy 1.75 bits.
        byte[] map = [0, 0, 0, 0, 1, 1, 2, 3];
        byte[] train = Array.ConvertAll(Samples.Uniform(200_000, 8, seed: 3), x => map[x]);
        byte[] test = Array.ConvertAll(Samples.Uniform(200_000, 8, seed: 4), x => map[x]);

        // Standard deviation of the mean code length: 0.83 / sqrt(200000) = 0.0019; four of them.
        Assert.InRange(new NgramModel(train, 0).BitsPerByte(test)[0], 1.75 - 0.0075, 1.75 + 0.0075);
    }

    [Fact]
    public void OrderOne_OnACycle_NeedsAlmostNothing()
    {
        byte[] cycle = [.. Enumerable.Range(0, 20_000).Select(i => (byte)(i % 50))];
        double[] bits = new NgramModel(cycle, 2).BitsPerByte(cycle);
        Assert.InRange(bits[0], Math.Log2(50) - 0.01, Math.Log2(50) + 0.01);

        // 400 occurrences of each context with one continuation: P >= 400/401. The first byte has no context and costs about log2 50.
        Assert.InRange(bits[1], 0, -Math.Log2(400.0 / 401) + (6.0 / cycle.Length));
        Assert.InRange(bits[2], 0, bits[1]);
    }

    [Fact]
    public void AllOrders_AreProperDistributions()
    {
        byte[] train = Samples.Uniform(3000, 5, seed: 5);
        var model = new NgramModel(train, 4);
        foreach (byte[] context in (byte[][])[[], [1], [1, 2, 3, 4], [4, 4, 4, 4, 4, 4], [200, 201, 202, 203], [200, 1, 2]])
        {
            for (int order = 0; order <= 4; order++)
            {
                double sum = Enumerable.Range(0, 256).Sum(next => model.Probability(context, (byte)next, order));
                Assert.Equal(1, sum, 1e-12);
            }
        }
    }

    [Fact]
    public void BitsPerByte_IsTheMeanOfTheProbabilities()
    {
        byte[] train = Samples.Uniform(2000, 4, seed: 6), text = Samples.Uniform(300, 5, seed: 7);
        var model = new NgramModel(train, 4);
        double[] bits = model.BitsPerByte(text);
        for (int order = 0; order <= 4; order++)
        {
            double sum = Enumerable.Range(0, text.Length).Sum(i => -Math.Log2(model.Probability(text.AsSpan(0, i), text[i], order)));
            Assert.Equal(sum / text.Length, bits[order], 1e-9);
        }
    }

    [Fact]
    public void OrderZero_IsWittenBell()
    {
        // n = 3, t = 2: P(a) = (2 + 2/256) / 5, P(unseen) = (2/256) / 5.
        var model = new NgramModel("aab"u8, 0);
        Assert.Equal((2 + (2 / 256.0)) / 5, model.Probability([], (byte)'a', 0), 1e-15);
        Assert.Equal(2 / 256.0 / 5, model.Probability([], (byte)'z', 0), 1e-15);
    }

    [Fact]
    public void Measure_NamesAllRows()
    {
        byte[] text = System.Text.Encoding.UTF8.GetBytes(Samples.Program(400));
        IReadOnlyList<YardstickRow> rows = Yardsticks.Measure(text.AsSpan(0, 8000), text.AsSpan(8000));
        Assert.Equal(
            ["order-0 n-gram", "order-1 n-gram", "order-2 n-gram", "order-3 n-gram", "order-4 n-gram", "gzip", "brotli"],
            rows.Select(row => row.Name));
        Assert.All(rows, row => Assert.InRange(row.BitsPerByte, 0.1, 8));
        Assert.True(rows[3].BitsPerByte < rows[1].BitsPerByte && rows[1].BitsPerByte < rows[0].BitsPerByte);
    }

    [Fact]
    public void Measure_OnBytesWithoutStructure_CannotCompress()
    {
        byte[] noise = Samples.Uniform(20_000, 256, seed: 8);
        Assert.All(Yardsticks.Measure(noise.AsSpan(0, 10_000), noise.AsSpan(10_000)), row => Assert.InRange(row.BitsPerByte, 8, 9));
    }

    [Fact]
    public void Measure_RefusesAnEmptyText() => Assert.Throws<ArgumentException>(() => Yardsticks.Measure("abc"u8, []));

    [Fact]
    public void Measure_WithoutTrainingText_FallsBackToUniform() =>
        Assert.Equal(8, Yardsticks.Measure([], "abc"u8)[4].BitsPerByte, 1e-12);
}
