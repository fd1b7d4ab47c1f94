using MoeSharp.Core;
using MoeSharp.Cuda;
using Xunit;

namespace MoeSharp.Tests;

public sealed class NativeProbeTests : IDisposable
{
    private readonly TempFolder _folder = new();
    private readonly Dictionary<string, string> _variables = [];
    private readonly HashSet<string> _loadable = [];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Run_WhereNothingIs_RecordsEveryNameOfTheLoader()
    {
        NativeProbeResult result = NativeProbe.Run(Host());
        Assert.Null(result.Driver);
        Assert.Null(result.Nvrtc);
        Assert.Equal(
            ["libcuda.so.1", "libcuda.so", "libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"],
            result.Attempts.Select(attempt => attempt.Path));
        Assert.All(result.Attempts, attempt => Assert.Equal("not found by the system's loader", attempt.Result));
    }

    [Fact]
    public void Run_StopsAtTheFirstLibraryThatLoads()
    {
        _loadable.UnionWith(["libcuda.so.1", "libnvrtc.so.12", "libnvrtc.so.11.2"]);
        NativeProbeResult result = NativeProbe.Run(Host());
        Assert.Equal("libcuda.so.1", result.Driver);
        Assert.Equal("libnvrtc.so.12", result.Nvrtc);
        Assert.Equal(4, result.Attempts.Count);
        Assert.Equal([true, false, false, true], result.Attempts.Select(attempt => attempt.Found));
    }

    [Fact]
    public void Run_WithExplicitFiles_TriesNothingElse()
    {
        _variables[NativeProbe.DriverVariable] = _folder["missing.so"];
        _variables[NativeProbe.NvrtcVariable] = _folder.Write("broken.so", "text");
        _loadable.UnionWith(["libcuda.so.1", "libnvrtc.so"]);
        NativeProbeResult result = NativeProbe.Run(Host());
        Assert.Null(result.Driver);
        Assert.Null(result.Nvrtc);
        Assert.Equal(["no such file", "the file is there but does not load as a library of this platform"], result.Attempts.Select(attempt => attempt.Result));
        Assert.Equal([NativeProbe.DriverVariable, NativeProbe.NvrtcVariable], result.Attempts.Select(attempt => attempt.Source));
    }

    [Fact]
    public void Run_WithAnExplicitFolder_LooksIntoIt()
    {
        string file = _folder.Write("libs/libnvrtc.so.12", "x");
        _variables[NativeProbe.NvrtcVariable] = _folder["libs"];
        _loadable.Add(file);
        Assert.Equal(file, NativeProbe.Run(Host()).Nvrtc);
    }

    [Theory]
    [InlineData("CUDA_PATH", "lib64/libnvrtc.so.13")]
    [InlineData("CUDA_HOME", "lib64/libnvrtc.so")]
    [InlineData("CUDA_PATH", "targets/x86_64-linux/lib/libnvrtc.so.12")]
    [InlineData("CUDA_HOME", "targets/sbsa-linux/lib/libnvrtc.so.11.2")]
    public void Run_LooksIntoToolkitsBeforeTheLoader(string variable, string file)
    {
        string path = _folder.Write(file, "x");
        _variables[variable] = _folder.Root;
        _loadable.UnionWith([path, "libnvrtc.so"]);
        NativeProbeResult result = NativeProbe.Run(Host());
        Assert.Equal(path, result.Nvrtc);
        Assert.Equal(variable, result.Attempts[^1].Source);
    }

    [Theory]
    [InlineData("bin/x64/nvrtc64_130_0.dll")]
    [InlineData("bin/nvrtc64_120_0.dll")]
    [InlineData("bin/nvrtc64_112_0.dll")]
    public void Run_OnWindows_KnowsTheFoldersAndNamesThere(string file)
    {
        string path = _folder.Write(file, "x");
        _variables["CUDA_PATH"] = _folder.Root;
        _loadable.UnionWith([path, "nvcuda.dll"]);
        NativeProbeResult result = NativeProbe.Run(Host() with { IsWindows = true });
        Assert.Equal("nvcuda.dll", result.Driver);
        Assert.Equal(path, result.Nvrtc);
    }

    [Fact]
    public void Run_WithAToolkitWithoutTheLibrary_SaysSoAndGoesOn()
    {
        _variables["CUDA_PATH"] = _folder.Root;
        _loadable.Add("libnvrtc.so");
        NativeProbeResult result = NativeProbe.Run(Host());
        Assert.Equal("libnvrtc.so", result.Nvrtc);
        Assert.Contains(result.Attempts, attempt => attempt is { Source: "CUDA_PATH", Result: "a folder without the library" });
    }

    [Fact]
    public void Engine_Auto_TakesTheCpuAndSaysWhy()
    {
        using Engine engine = Engine.Create(host: Host());
        Assert.Equal("cpu", engine.Backend.Name);
        Assert.Equal("cpu", engine.Report.Chosen);
        Assert.Equal("auto", engine.Report.Requested);
        Assert.Contains("no CUDA driver", engine.Report.Reason, StringComparison.Ordinal);
        Assert.NotEmpty(engine.Report.Attempts);
    }

    [Fact]
    public void Engine_Cpu_DoesNotProbe()
    {
        using Engine engine = Engine.Create(new EngineOptions { Device = "cpu", Threads = 1 }, Host() with { TryLoad = _ => throw new InvalidOperationException() });
        Assert.Empty(engine.Report.Attempts);
    }

    [Theory]
    [InlineData("cuda")]
    [InlineData("CUDA:1")]
    public void Engine_Cuda_RefusesAndListsWhatWasTried(string device)
    {
        string message = Assert.Throws<BackendUnavailableException>(() => Engine.Create(new EngineOptions { Device = device }, Host())).Message;
        Assert.Contains("no CUDA driver", message, StringComparison.Ordinal);
        Assert.Contains("libcuda.so.1 (system loader): not found", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("gpu")]
    [InlineData("")]
    [InlineData("cuda:x")]
    public void Engine_RefusesUnknownDevices(string device) =>
        Assert.Throws<ArgumentException>(() => Engine.Create(new EngineOptions { Device = device }, Host()));

    private ProbeHost Host() => new()
    {
        IsWindows = false,
        Environment = name => _variables.GetValueOrDefault(name),
        TryLoad = _loadable.Contains,
    };
}
