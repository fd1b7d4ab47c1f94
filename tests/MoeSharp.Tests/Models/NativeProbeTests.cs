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
            result.Attempts.Where(attempt => attempt.Source == "system loader").Select(attempt => attempt.Path));
        Assert.All(result.Attempts.Take(6), attempt => Assert.Equal("not found by the system's loader", attempt.Result));
    }

    [Fact]
    public void Run_WhereNothingIs_RecordsThePlacesItLookedInto()
    {
        _variables["VIRTUAL_ENV"] = _folder["venv"];
        NativeProbeResult result = NativeProbe.Run(Host());
        string[] places = [.. result.Attempts.Skip(6).Select(attempt => attempt.Path)];
        Assert.Contains(Path.Combine(_folder["root"], "usr/local/cuda*", "lib64"), places);
        Assert.Contains(Path.Combine(_folder["venv"], "lib/python3*/site-packages", "nvidia/cuda_nvrtc/lib"), places);
        Assert.All(result.Attempts.Skip(6), attempt => Assert.Equal("no such file", attempt.Result));
    }

    [Theory]
    [InlineData("VIRTUAL_ENV", "lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12")]
    [InlineData("VIRTUAL_ENV", "lib/python3.13/site-packages/nvidia/cu13/lib/libnvrtc.so.13")]
    [InlineData("CONDA_PREFIX", "lib/libnvrtc.so.12")]
    [InlineData("CONDA_PREFIX", "lib/python3.11/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.11.2")]
    [InlineData("HOME", ".local/lib/python3.10/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12")]
    public void Run_LooksIntoPythonPackages(string variable, string file)
    {
        string path = _folder.Write("env/" + file, "x");
        _variables[variable] = _folder["env"];
        _loadable.Add(path);
        Assert.Equal(path, NativeProbe.Run(Host()).Nvrtc);
    }

    [Theory]
    [InlineData("usr/local/cuda-12.6/lib64/libnvrtc.so.12", "installed toolkit")]
    [InlineData("usr/local/cuda/targets/sbsa-linux/lib/libnvrtc.so.13", "installed toolkit")]
    [InlineData("usr/lib/python3/dist-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "Python packages")]
    [InlineData("usr/local/lib/python3.12/dist-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12", "Python packages")]
    public void Run_LooksIntoInstalledToolkitsAndPackagesOfTheSystem(string file, string source)
    {
        string path = _folder.Write("root/" + file, "x");
        _loadable.Add(path);
        NativeProbeResult result = NativeProbe.Run(Host());
        Assert.Equal(path, result.Nvrtc);
        Assert.Equal(source, result.Attempts[^1].Source);
    }

    [Fact]
    public void Run_OfTwoInstalledToolkits_TakesTheNewerOne()
    {
        string older = _folder.Write("root/usr/local/cuda-12.4/lib64/libnvrtc.so.12", "x"), newer = _folder.Write("root/usr/local/cuda-12.8/lib64/libnvrtc.so.12", "x");
        _loadable.UnionWith([older, newer]);
        Assert.Equal(newer, NativeProbe.Run(Host()).Nvrtc);
    }

    [Fact]
    public void Run_PrefersTheLoaderToFoldersItHasToGuess()
    {
        _loadable.UnionWith([_folder.Write("root/usr/local/cuda-12.8/lib64/libnvrtc.so.12", "x"), "libnvrtc.so.12"]);
        Assert.Equal("libnvrtc.so.12", NativeProbe.Run(Host()).Nvrtc);
    }

    [Theory]
    [InlineData("Program Files/NVIDIA GPU Computing Toolkit/CUDA/v12.6/bin/nvrtc64_120_0.dll")]
    [InlineData("Program Files/NVIDIA GPU Computing Toolkit/CUDA/v13.0/bin/x64/nvrtc64_130_0.dll")]
    public void Run_OnWindows_LooksIntoInstalledToolkits(string file)
    {
        string path = _folder.Write("root/" + file, "x");
        _loadable.Add(path);
        Assert.Equal(path, NativeProbe.Run(Host() with { IsWindows = true }).Nvrtc);
    }

    [Fact]
    public void Run_OnWindows_LooksIntoPythonPackages()
    {
        string path = _folder.Write("roaming/Python/Python312/site-packages/nvidia/cuda_nvrtc/bin/nvrtc64_120_0.dll", "x");
        _variables["APPDATA"] = _folder["roaming"];
        _loadable.Add(path);
        Assert.Equal(path, NativeProbe.Run(Host() with { IsWindows = true }).Nvrtc);
    }

    [Fact]
    public void Run_KnowsTheDriverOfTheWindowsSubsystem()
    {
        string path = _folder.Write("root/usr/lib/wsl/lib/libcuda.so.1", "x");
        _loadable.Add(path);
        Assert.Equal(path, NativeProbe.Run(Host()).Driver);
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
    public void Engine_Auto_WithADriverButNoCompiler_LogsOneLine()
    {
        var lines = new List<string>();
        _loadable.Add("libcuda.so.1");
        using Engine engine = Engine.Create(new EngineOptions { Log = lines.Add }, Host());
        Assert.Equal("cpu", engine.Report.Chosen);
        string line = Assert.Single(lines);
        Assert.StartsWith("Computing on the CPU: CUDA does not work here: There is a CUDA driver, but no NVRTC to compile kernels with", line, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', line);
    }

    [Theory]
    [InlineData("cpu")]
    [InlineData("auto")]
    public void Engine_OnTheCpu_ComputesInBFloat16(string device)
    {
        using Engine engine = Engine.Create(new EngineOptions { Device = device, FloatType = DType.BFloat16 }, Host());
        Assert.Equal((DType.BFloat16, DType.Float32), (engine.Backend.FloatType, engine.Backend.WideType));
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
        Root = _folder["root"],
        Environment = name => _variables.GetValueOrDefault(name),
        TryLoad = _loadable.Contains,
    };
}
