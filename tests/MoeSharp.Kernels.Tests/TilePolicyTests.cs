using MoeSharp.Core;
using MoeSharp.Cuda;
using Xunit;

namespace MoeSharp.Kernels.Tests;

/// <summary>Which tiles products get on a device of 132 multiprocessors.</summary>
public sealed class TilePolicyTests(KernelBuilds builds)
{
    private const int Multiprocessors = 132;

    [Theory]
    [InlineData(8192, 4096, 1, true)] // a projection of a long batch
    [InlineData(1536, 1408, 1, true)] // 12 x 11 tiles of 128: one for each
    [InlineData(1408, 1408, 1, false)] // 121: some would have none
    [InlineData(8192, 127, 1, false)] // half of every tile would be empty
    [InlineData(512, 1536, 128, true)] // 128 experts with 512 rows each
    [InlineData(127, 1536, 128, false)]
    [InlineData(1, 1, 1, false)]
    public void LargeTiles_WhereTheyAreFilledAndOccupyTheDevice(long m, long n, long products, bool large)
    {
        Assert.Equal(large, TilePolicy.For(m, n, vectorized: true, DType.BFloat16, Multiprocessors, products).Large);
        Assert.False(TilePolicy.For(m, n, vectorized: false, DType.BFloat16, Multiprocessors, products).Large);
    }

    [Theory]
    [InlineData(256, 256, 16384, 8, 2048)] // 16 tiles, 8 times
    [InlineData(128, 2048, 32768, 1, 32768)] // 64 tiles
    [InlineData(64, 64, 100_000, 128, 832)] // one tile: 121 parts of 832 hold 100,000
    [InlineData(64, 64, 2047, 1, 2047)]
    [InlineData(64, 64, 2049, 4, 576)]
    [InlineData(0, 64, 4096, 1, 4096)]
    public void LongSums_AreDivided_WhereTilesAreFew(long m, long n, int k, int parts, int depth)
    {
        var actual = GemmParts.Of(m, n, k);
        Assert.Equal(depth, actual.Depth);
        Assert.InRange(actual.Count, 1, parts);
        Assert.InRange((long)actual.Count * actual.Depth, k, k + depth);
        Assert.InRange(CudaWorkspace.Gemm(m, n, k), 0, 2 << 20);
    }

    [Theory]
    [InlineData(DType.Float32)]
    [InlineData(DType.BFloat16)]
    public async Task ResidentBlocks_FitRegistersAndSharedMemory(DType type)
    {
        RealNvrtc.Require();
        const int Registers = 1 << 16, SharedBytes = 164 << 10, Granularity = 8;
        foreach (TilePolicy tile in TilePolicy.All(type))
        {
            Assert.InRange(tile.Resident * tile.SharedBytes, 1, SharedBytes);
            foreach (string file in (string[])["dense/gemm.cu", "moe/expert_up.cu", "moe/expert_down.cu", "moe/expert_backward.cu", "moe/expert_weight_grad.cu"])
            {
                KernelKey key = KernelKey.Of(file, [.. tile.Constants, ("FLOAT_BF16", type == DType.BFloat16 ? 1 : 0)]);
                foreach (EntryResources entry in (await builds.Get(key with { Architecture = "sm_90a" })).Entries)
                {
                    int perThread = (entry.Registers + Granularity - 1) / Granularity * Granularity;
                    Assert.True(tile.Resident * tile.Threads * perThread <= Registers, $"{tile.Resident} blocks of {entry} do not fit.");
                }
            }
        }
    }
}
