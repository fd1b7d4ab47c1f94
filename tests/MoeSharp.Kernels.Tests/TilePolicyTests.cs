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
