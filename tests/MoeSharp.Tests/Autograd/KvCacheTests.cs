using MoeSharp.Autograd;
using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Tests;

public sealed class KvCacheTests : AutogradTest
{
    private const int Hidden = 6;

    [Fact]
    public void Attention_TokenByToken_EqualsTheWholeSequence()
    {
        using AttentionLayer layer = Layer();
        using Tensor x = Random("x", 7, Hidden), positions = Positions(1, 7);
        using Tape tape = new(Backend, record: false), cachedTape = new(Backend, record: false) { PoisonRented = true };
        using var cache = new KvCache(Backend, capacity: 9, layer.CacheWidth);
        double[] whole = layer.Forward(tape, tape.Constant(x), positions, 1, 7).Value.ToDoubles();
        for (int round = 0; round < 2; round++)
        {
            var cached = new List<double>();
            foreach ((int start, int count) in ((int, int)[])[(0, 4), (4, 1), (5, 2)])
            {
                using Tensor rows = x.View(new Shape(count, Hidden), start * Hidden);
                using Tensor places = positions.View(new Shape(count), start);
                cached.AddRange(layer.Forward(cachedTape, cachedTape.Constant(rows), places, 1, count, cache).Value.ToDoubles());
                cachedTape.Reset();
            }

            // The same sums over keys, in an order that may differ: some 10 roundings of values of order 1.
            Assert.All(whole.Zip(cached), pair => Assert.Equal(pair.First, pair.Second, 1e-13));
            Assert.Equal(7, cache.Length);
            cache.Clear();
        }
    }

    [Fact]
    public void Append_BeyondCapacity_SaysHowFullItIs()
    {
        using var cache = new KvCache(Backend, 2, 3);
        using Tensor rows = Random("rows", 3, 3);
        string message = Assert.Throws<InvalidOperationException>(() => cache.Append(rows, rows)).Message;
        Assert.Contains("0 of 2 rows", message, StringComparison.Ordinal);
        Assert.Equal(0, cache.Length);
    }

    [Fact]
    public void Attention_CacheWithRecordingOrBatch_IsRejected()
    {
        using AttentionLayer layer = Layer();
        using Tensor x = Random("x", 2, Hidden), positions = Positions(2, 1);
        using var cache = new KvCache(Backend, 4, layer.CacheWidth);
        using Tape recording = new(Backend), silent = new(Backend, record: false);
        Assert.Throws<ArgumentException>(() => layer.Forward(recording, recording.Constant(x), positions, 1, 2, cache));
        Assert.Throws<ArgumentException>(() => layer.Forward(silent, silent.Constant(x), positions, 2, 1, cache));
    }

    private AttentionLayer Layer() => new(
        Init,
        "attention",
        new AttentionOptions
        {
            Hidden = Hidden,
            Heads = 4,
            KeyValueHeads = 2,
            HeadDim = 4,
            Rope = new RopeSpec(4, 100),
            QueryKeyNorm = QueryKeyNorm.PerHead,
        },
        0.5);
}
