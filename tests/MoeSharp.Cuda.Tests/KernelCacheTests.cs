using MoeSharp.Core;
using MoeSharp.Tests;
using Xunit;

namespace MoeSharp.Cuda.Tests;

/// <summary>The cache of compiled kernels: kept, checked, shared, and never in the way.</summary>
public sealed class KernelCacheTests : IDisposable
{
    private static readonly KernelKey s_key = KernelKey.Of("optimizer/grad_norm.cu", (KernelCatalog.FloatConstant, 0)) with { Architecture = "sm_80" };
    private readonly TempFolder _folder = new();

    public KernelCacheTests() => CudaLibraries.Use(NativeProbe.Run(Emulated.Host));

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Get_CompilesOnce_AndReadsThen()
    {
        var cache = new KernelCache(_folder.Root);
        byte[] image = cache.Get(s_key);
        string file = Assert.Single(Directory.GetFiles(_folder.Root));
        Assert.Equal(Path.GetFileName(file), KernelCache.Name(s_key));
        Assert.StartsWith("optimizer-grad_norm.sm_80.", Path.GetFileName(file), StringComparison.Ordinal);
        Assert.Equal(new FileInfo(file).Length, cache.Bytes);
        DateTime written = File.GetLastWriteTimeUtc(file);
        Assert.Equal(image, new KernelCache(_folder.Root).Get(s_key));
        Assert.Equal(written, File.GetLastWriteTimeUtc(file));
    }

    [Theory]
    [InlineData("empty")]
    [InlineData("cut off")]
    [InlineData("one bit")]
    [InlineData("another file")]
    public void Get_OfADamagedEntry_CompilesAgainAndMendsIt(string damage)
    {
        var cache = new KernelCache(_folder.Root);
        byte[] image = cache.Get(s_key);
        string file = Assert.Single(Directory.GetFiles(_folder.Root));
        byte[] bytes = File.ReadAllBytes(file);
        File.WriteAllBytes(file, damage switch
        {
            "empty" => [],
            "cut off" => bytes[..(bytes.Length / 2)],
            "one bit" => [.. bytes[..^1], (byte)(bytes[^1] ^ 1)],
            _ => "#!/bin/sh\nexit 1\n"u8.ToArray(),
        });
        Assert.Null(KernelCache.Read(file));
        Assert.NotEmpty(cache.Get(s_key));
        Assert.Equal(image.Length, KernelCache.Read(file)!.Length);
        Assert.Single(Directory.GetFiles(_folder.Root));
    }

    [Fact]
    public void Get_OfTwoCachesAtOnce_LeavesOneWholeEntry()
    {
        byte[][] images = new byte[4][];
        Parallel.For(0, images.Length, i => images[i] = new KernelCache(_folder.Root).Get(s_key));
        Assert.All(images, image => Assert.NotEmpty(image));
        Assert.NotNull(KernelCache.Read(Assert.Single(Directory.GetFiles(_folder.Root))));
    }

    [Fact]
    public void Write_WhileOthersRead_ShowsOldOrNewButNothingBetween()
    {
        string file = _folder["entry.cubin"];
        byte[] first = [.. Enumerable.Repeat((byte)1, 100_000)], second = [.. Enumerable.Repeat((byte)2, 50_000)];
        KernelCache.Write(file, first);
        var writer = Task.Run(
            () =>
            {
                for (int i = 0; i < 50; i++)
                {
                    KernelCache.Write(file, i % 2 == 0 ? second : first);
                }
            },
            TestContext.Current.CancellationToken);
        while (!writer.IsCompleted)
        {
            byte[]? seen = KernelCache.Read(file);
            Assert.True(seen is not null && (seen.AsSpan().SequenceEqual(first) || seen.AsSpan().SequenceEqual(second)), "A reader saw a half-written entry.");
        }
    }

    [Fact]
    public void Get_WhereNothingCanBeWritten_WarnsOnceAndWorks()
    {
        // A file where the folder should be: nobody can write below it, not even an administrator.
        var warnings = new List<string>();
        var cache = new KernelCache(Path.Combine(_folder.Write("occupied", "text"), "kernels")) { Warning = warnings.Add };
        Assert.NotEmpty(cache.Get(s_key));
        Assert.NotEmpty(cache.Get(s_key with { Architecture = "sm_86" }));
        string warning = Assert.Single(warnings);
        Assert.StartsWith($"Compiled kernels cannot be kept in {cache.Folder}: ", warning, StringComparison.Ordinal);
        Assert.Contains("They are compiled again in every process; set MOESHARP_CACHE to a folder that can be written.", warning, StringComparison.Ordinal);
        Assert.Equal(0, cache.Bytes);
    }

    [Fact]
    public void Name_DependsOnEverythingThatDecidesTheContent()
    {
        KernelKey[] keys =
        [
            s_key, s_key with { Architecture = "sm_86" }, s_key with { Constants = KernelCatalog.FloatConstant + "=1" }, s_key with { File = "optimizer/adamw.cu" },
        ];
        Assert.Equal(keys.Length, keys.Select(KernelCache.Name).Distinct().Count());
        Assert.Equal(KernelCache.Name(s_key), KernelCache.Name(s_key with { Architecture = "sm_80" }));
    }
}
