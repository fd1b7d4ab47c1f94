using MoeSharp.Core;
using MoeSharp.Cuda;
using Xunit;

namespace MoeSharp.Kernels.Tests;

/// <summary>The tiles of attention fit every device that kernels are compiled for, and every width up to the widest finds its own.</summary>
public sealed class AttentionTilesTests
{
    // sm_86 and sm_89: 100 KiB per multiprocessor, of which a block may use all but one.
    private const int LeastSharedBytes = 99 * 1024;

    [Theory]
    [InlineData(DType.Float32)]
    [InlineData(DType.BFloat16)]
    public void Tiles_FitTheSmallestDevice(DType type)
    {
        Assert.All(AttentionTiles.Forward(type), tiles => Assert.InRange(tiles.SharedBytes(type, kept: 1), 1, LeastSharedBytes));
        Assert.All(AttentionTiles.Backward(type), tiles => Assert.InRange(tiles.SharedBytes(type, kept: 2) + tiles.StatisticsBytes, 1, LeastSharedBytes));
    }

    [Theory]
    [InlineData(1, 16)]
    [InlineData(16, 16)]
    [InlineData(17, 32)]
    [InlineData(96, 128)]
    [InlineData(256, 256)]
    public void AWidth_TakesTheNarrowestTiles_ThatHoldIt(int width, int head)
    {
        foreach (DType type in (DType[])[DType.Float32, DType.BFloat16])
        {
            Assert.Equal(head, AttentionTiles.Forward(type, width).Head);
            Assert.Equal(head, AttentionTiles.Backward(type, width).Head);
        }
    }

    [Fact]
    public void AWiderHead_IsRefused()
    {
        ArgumentException error = Assert.Throws<ArgumentException>(() => AttentionTiles.Forward(DType.BFloat16, 257));
        Assert.Contains("up to 256 wide, got 257", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1, 255, 1)]
    [InlineData(1, 531, 2)]
    [InlineData(1, 100_000, 121)]
    [InlineData(4096, 4096, 2)]
    [InlineData(8192, 8192, 1)]
    public void Keys_AreDivided_WhereQueriesAreFew(int queries, int keys, int splits)
    {
        // Two heads of one sequence: a tile per head and 64 queries, and 256 tiles are aimed at.
        var spec = new AttentionSpec(1, queries, keys, Heads: 2, KeyValueHeads: 2, HeadDim: 64, Scale: 0.125);
        (int count, int each) = CudaWorkspace.AttentionSplits(spec);
        Assert.Equal(splits, count);
        Assert.InRange((long)count * each, keys, keys + each - 1L);
        Assert.Equal(splits == 1 ? 0 : 4L * splits * queries * 2 * (64 + 2), CudaWorkspace.Attention(spec));
    }
}
