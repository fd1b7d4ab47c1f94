using MoeSharp.Core;
using MoeSharp.Tests;
using Xunit;

namespace MoeSharp.Cuda.Tests;

/// <summary>Kernels compiled beforehand, on a machine without NVRTC; and what a user reads when something is missing.</summary>
public sealed class KernelFolderTests : IDisposable
{
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Backend_WithoutNvrtc_TakesKernelsFromTheFolder_AndNamesOneThatIsNotThere()
    {
        CudaLibraries.Use(NativeProbe.Run(Emulated.Host));
        KernelKey key = KernelKey.Of("dense/elementwise.cu", (KernelCatalog.FloatConstant, 0)) with { Architecture = "sm_90a" };
        KernelFolder.Compile(_folder.Root, [key], stop: TestContext.Current.CancellationToken);
        using CudaBackend backend = Emulated.Backend(new CudaOptions { KernelFolder = _folder.Root }, Emulated.WithoutNvrtc);
        backend.SelfTest();

        using Tensor x = backend.FromDoubles([1, 2], 1, 2), bias = backend.FromDoubles([1, 2], 2);
        Assert.Equal(
            $"Kernel dense/bias.cu [FLOAT_BF16=0] for sm_90a is not in {_folder.Root}, or was made from another version of its text, and there is no NVRTC to compile it. Make the folder again with this version: moe kernels build --arch sm_90a --out FOLDER.",
            Assert.Throws<BackendUnavailableException>(() => backend.AddBias(x, bias, x)).Message);
    }

    [Fact]
    public void Precompile_LoadsKernels_AndReportsEach()
    {
        using CudaBackend backend = Emulated.Backend();
        KernelKey[] keys = [backend.Key("dense/bias.cu"), backend.Key("dense/elementwise.cu"), backend.Key("optimizer/adamw.cu")];
        var seen = new System.Collections.Concurrent.ConcurrentBag<(int Done, int Total)>();
        backend.Precompile(keys, new Direct(seen.Add));
        Assert.Equal([(1, 3), (2, 3), (3, 3)], seen.Order());

        // Loaded: a capture, which could not load it, launches it.
        using Tensor x = backend.FromDoubles([1, 2], 1, 2), bias = backend.FromDoubles([1, 2], 2);
        using CudaGraph graph = backend.Capture(() => backend.AddBias(x, bias, x));
        graph.Replay();
        Assert.Equal([2.0, 4.0], x.ToDoubles());
    }

    [Fact]
    public void Precompile_OfAKeyThatIsNone_ThrowsWhatIsWrong()
    {
        using CudaBackend backend = Emulated.Backend();
        Assert.Throws<InvalidOperationException>(() => backend.Precompile([backend.Key("dense/bias.cu", ("UNHEARD_OF", 1))]));
    }

    [Fact]
    public void Backend_WithoutNvrtcAndFolder_SaysHowToGetThem()
    {
        string message = Assert.Throws<BackendUnavailableException>(() => new CudaBackend(null, Emulated.WithoutNvrtc)).Message;
        Assert.StartsWith("There is a CUDA driver, but no NVRTC to compile kernels with, and no folder of compiled kernels (MOESHARP_KERNELS).", message, StringComparison.Ordinal);
        Assert.Contains("Python package nvidia-cuda-nvrtc-cu12", message, StringComparison.Ordinal);
        Assert.Contains("none.so (MOESHARP_NVRTC): no such file", message, StringComparison.Ordinal);
        Assert.Contains("(MOESHARP_CUDA_DRIVER): loaded", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Backend_WithoutADriver_ListsWhatWasTried()
    {
        var nowhere = new ProbeHost { IsWindows = false, Root = _folder.Root, Environment = _ => null, TryLoad = _ => false };
        Assert.Equal(
            string.Join(Environment.NewLine, "There is no CUDA driver on this machine. Tried:", "  libcuda.so.1 (system loader): not found by the system's loader", "  libcuda.so (system loader): not found by the system's loader"),
            Assert.Throws<BackendUnavailableException>(() => new CudaBackend(null, nowhere)).Message);
    }

    [Fact]
    public void Backend_WithAFolderThatIsNotThere_SaysSo() => Assert.Contains(
        "There is no folder of compiled kernels '",
        Assert.Throws<DirectoryNotFoundException>(() => Emulated.Backend(new CudaOptions { KernelFolder = _folder["missing"] })).Message,
        StringComparison.Ordinal);

    [Theory]
    [InlineData("sm_70", "'sm_70' is not an architecture that kernels can be compiled for; use names such as sm_80, sm_89, sm_90a, or native.")]
    [InlineData("hopper", "'hopper' is not an architecture")]
    [InlineData("sm_90", "On devices of compute capability 9.0 the engine looks for kernels compiled for sm_90a, not for sm_90.")]
    public void Build_ForAnArchitectureThatIsNone_IsRefused(string architecture, string part) => Assert.Contains(
        part, Assert.Throws<ArgumentException>(() => KernelFolder.Build(_folder.Root, [architecture], host: Emulated.Host, stop: TestContext.Current.CancellationToken)).Message, StringComparison.Ordinal);

    [Fact]
    public void Names_Native_IsTheDevicesOwnArchitecture() =>
        Assert.Equal(["sm_80", "sm_90a"], KernelFolder.Names(["sm_80", KernelFolder.Native, "sm_90a"], Emulated.Host));

    [Fact]
    public void Compile_OfAMistake_ShowsTheLine()
    {
        CudaLibraries.Use(NativeProbe.Run(Emulated.Host));
        var key = new KernelKey("moe/mistake.cu", "FLOAT_BF16=0", "sm_80");
        const string Text = "extern \"C\" __global__ void mistake(float* y)\n{\n    y[0] = undeclared_name;\n}\n";
        KernelCompileException error = Assert.Throws<KernelCompileException>(() => KernelCompiler.Compile(key, Text, out _));
        Assert.StartsWith("Kernel moe/mistake.cu [FLOAT_BF16=0] for sm_80 does not compile:", error.Message, StringComparison.Ordinal);
        Assert.Contains("undeclared_name", error.Message, StringComparison.Ordinal);
        Assert.Contains("\n      y[0] = undeclared_name;", error.Message.ReplaceLineEndings("\n"), StringComparison.Ordinal);
        Assert.Equal(key, error.Key);
    }

    private sealed class Direct(Action<(int Done, int Total)> report) : IProgress<(int Done, int Total)>
    {
        public void Report((int Done, int Total) value) => report(value);
    }
}
