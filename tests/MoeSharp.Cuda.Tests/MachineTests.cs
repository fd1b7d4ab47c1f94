using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using System.Text.Json;
using MoeSharp.Emulator;
using MoeSharp.Tests;
using Xunit;

namespace MoeSharp.Cuda.Tests;

/// <summary>The command on machines of all kinds, each a child process with its own driver: what a user reads.</summary>
public sealed class MachineTests : IDisposable
{
    private static readonly string[] s_probe = ["profile", "--shape", "small", "--tokens", "1", "--samples", "1", "--device", "cuda"];
    private readonly TempFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("MOESHARP_EMULATOR_DRIVER", "11040", "moe: cuda:0 cannot be used: The CUDA driver supports CUDA 11.4; the engine needs 11.8 or newer (driver 520 on Linux). Update the driver.")]
    [InlineData("MOESHARP_EMULATOR_DEVICES", "0", "moe: cuda:0 cannot be used: cuInit failed with CUDA_ERROR_NO_DEVICE (100). There is no NVIDIA GPU that this process may use; look at nvidia-smi and CUDA_VISIBLE_DEVICES.")]
    [InlineData("MOESHARP_EMULATOR_SM", "75", "moe: cuda:0 cannot be used: Device 0, MoeSharp emulator, has compute capability 7.5; the kernels need 8.0 (Ampere) or newer.")]
    [InlineData("MOESHARP_KERNELS", "/no/such/folder", "moe: cuda:0 cannot be used: There is no folder of compiled kernels '/no/such/folder'. Make it with 'moe kernels build', or clear MOESHARP_KERNELS.")]
    public async Task NamedDevice_OnAMachineThatCannot_IsRefusedInWords(string variable, string value, string message)
    {
        (int code, string output, string error) = await RunAsync(s_probe, (variable, value));
        Assert.Equal((1, string.Empty, message), (code, output, error.Trim()));
    }

    [Theory]
    [InlineData(NativeProbe.DriverVariable, "is no CUDA driver: it has no function cuInit, or does not load. Correct or clear MOESHARP_CUDA_DRIVER.")]
    [InlineData(NativeProbe.NvrtcVariable, "is no NVRTC of CUDA 11.2 or newer:")]
    public async Task NamedLibrary_ThatIsAnother_IsNamed(string variable, string part)
    {
        (int code, _, string error) = await RunAsync(s_probe, (variable, Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "libSystem.Native.so")));
        Assert.Equal(1, code);
        Assert.Contains("libSystem.Native.so " + part, error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Auto_WithADriverThatIsTooOld_ComputesOnTheCpuAndSaysWhyInOneLine()
    {
        (int code, string output, string error) = await RunAsync(
            ["profile", "--shape", "small", "--tokens", "1", "--samples", "1"], ("MOESHARP_EMULATOR_DRIVER", "11040"));
        Assert.Equal(0, code);
        Assert.NotEmpty(output);
        Assert.StartsWith(
            "Computing on the CPU: CUDA does not work here: The CUDA driver supports CUDA 11.4; the engine needs 11.8 or newer (driver 520 on Linux). Update the driver.",
            error,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Info_OnAnOldMachine_ListsTheProblemAndGoesOn()
    {
        (int code, string output, _) = await RunAsync(["info", "--format", "json"], ("MOESHARP_EMULATOR_DRIVER", "11040"));
        Assert.Equal(0, code);
        using JsonDocument json = JsonDocument.Parse(output);
        Assert.StartsWith("The CUDA driver supports CUDA 11.4;", json.RootElement.GetProperty("cuda_problems")[0].GetString(), StringComparison.Ordinal);
        Assert.Equal("cpu", json.RootElement.GetProperty("backend").GetProperty("chosen").GetString());
    }

    [Fact]
    public async Task Info_WhereCudaWorks_ShowsTheDeviceInBothFormats()
    {
        (_, string text, _) = await RunAsync(["info"]);
        Assert.Contains("cuda: CUDA works here: MoeSharp emulator, Float32", text, StringComparison.Ordinal);
        Assert.Contains("device cuda:0: MoeSharp emulator, 8.00 GiB, 4 multiprocessors, kernels for sm_90a", text, StringComparison.Ordinal);
        (_, string output, _) = await RunAsync(["info", "--format", "json"]);
        using JsonDocument json = JsonDocument.Parse(output);
        Assert.Equal("sm_90a", json.RootElement.GetProperty("cuda_devices")[0].GetProperty("architecture").GetString());
        Assert.Equal("12.4", json.RootElement.GetProperty("cuda_driver_version").GetString());
    }

    [Fact]
    public async Task OutOfMemory_IsAMessageWithSizes()
    {
        (int code, _, string error) = await RunAsync(s_probe, ("MOESHARP_EMULATOR_MIB", "1"));
        Assert.Equal(1, code);
        Assert.StartsWith("moe: The GPU has no ", error, StringComparison.Ordinal);
        Assert.Contains("of its 1,048,576 bytes ", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Generate_FromARunOfTheCpu_WritesTheSameTextOnCuda_AndWorksInBFloat16()
    {
        string run = _folder["run"], text = _folder.Write("text.txt", string.Concat(Enumerable.Repeat("the quick brown fox jumps over the lazy dog. ", 2000)));
        (int trained, _, string failure) = await RunAsync(
            [
                "train", "--data", text, "--out", run, "--device", "cpu", "--steps", "40", "--layers", "1", "--hidden", "32", "--heads", "2",
                "--context", "32", "--batch", "4", "--experts", "4", "--expert-width", "16", "--quiet",
            ]);
        Assert.True(trained == 0, failure);
        string[] generate = ["generate", "--model", run, "--prompt", "the ", "--temperature", "0", "--max-tokens", "24", "--device"];
        (_, string cpu, _) = await RunAsync([.. generate, "cpu"]);
        (int code, string cuda, string error) = await RunAsync([.. generate, "cuda"]);
        Assert.True(code == 0, error);
        Assert.Equal(cpu, cuda);
        (code, string half, error) = await RunAsync([.. generate, "cuda", "--dtype", "bf16"]);
        Assert.True(code == 0, error);
        Assert.StartsWith("the ", half, StringComparison.Ordinal);
    }

    [Fact]
    public async Task KernelsBuild_WithoutNvrtc_SaysWhereItLooked()
    {
        (int code, _, string error) = await RunAsync(["kernels", "build", "--arch", "sm_80", "--out", _folder["kernels"]], (NativeProbe.NvrtcVariable, "/no/such/file.so"));
        Assert.Equal(1, code);
        Assert.StartsWith("moe: There is no NVRTC to compile kernels with.", error, StringComparison.Ordinal);
        Assert.Contains("/no/such/file.so (MOESHARP_NVRTC): no such file", error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_folder["kernels"]));
    }

    [Theory]
    [InlineData("MOESHARP_EMULATOR_DEVICES", "0", "cuInit failed with CUDA_ERROR_NO_DEVICE (100).")]
    [InlineData("MOESHARP_EMULATOR_SM", "75", "the device needs 75.")]
    [InlineData(NativeProbe.DriverVariable, "/no/such/file.so", "No driver; tried:")]
    public async Task KernelsBuild_NativeWithoutADevice_AsksForAName(string variable, string value, string reason)
    {
        (int code, _, string error) = await RunAsync(["kernels", "build", "--arch", "native", "--out", _folder["kernels"]], (variable, value));
        Assert.Equal(1, code);
        Assert.StartsWith("moe: 'native' means the architecture of this machine's CUDA device, and none can be used; name the architecture, such as sm_90a.", error, StringComparison.Ordinal);
        Assert.Contains(reason, error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_folder["kernels"]));
    }

    [Theory]
    [InlineData("echo '1755, 2619'", 1755)]
    [InlineData("echo '[N/A], [N/A]'", null)]
    [InlineData("echo 'No devices were found'; exit 6", null)]
    [SupportedOSPlatform("linux")]
    public async Task Profile_TellsTheClocksOfTheMeasuredDevice_WhereTheyCanBeRead(string answer, int? clock)
    {
        string tool = _folder["nvidia-smi"];
        await File.WriteAllTextAsync(tool, $"#!/bin/sh\necho \"$@\" >> '{_folder["asked"]}'\n{answer}\n", TestContext.Current.CancellationToken);
        File.SetUnixFileMode(tool, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        string path = $"{Path.GetDirectoryName(tool)}:{Environment.GetEnvironmentVariable("PATH")}";
        (int code, string output, string error) = await RunAsync([.. s_probe, "--format", "json"], ("PATH", path));
        Assert.True(code == 0, error);
        using JsonDocument json = JsonDocument.Parse(output);
        JsonElement[] ops = [.. json.RootElement.GetProperty("ops").EnumerateArray()];
        Assert.All(ops, op => Assert.Equal(clock, op.TryGetProperty("sm_mhz", out JsonElement sm) ? sm.GetInt32() : null));
        string[] asked = await File.ReadAllLinesAsync(_folder["asked"], TestContext.Current.CancellationToken);
        Assert.Equal(clock is null ? 1 : ops.Length, asked.Length);
        Assert.All(asked, line => Assert.EndsWith("-i 0000:01:00.0", line, StringComparison.Ordinal));
    }

    [Fact]
    public async Task KernelsList_ShowsTheCatalog()
    {
        (int code, string output, _) = await RunAsync(["kernels", "list", "--format", "json"]);
        Assert.Equal(0, code);
        using JsonDocument json = JsonDocument.Parse(output);
        Assert.Equal(
            KernelCatalog.All.Select(key => key.File),
            json.RootElement.GetProperty("kernels").EnumerateArray().Select(kernel => kernel.GetProperty("file").GetString()));
    }

    private async Task<(int Code, string Output, string Error)> RunAsync(string[] args, params (string Name, string Value)[] environment)
    {
        _ = Emulated.Host;
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, "moe.dll"), .. args])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment[NativeProbe.DriverVariable] = EmulatorBuild.Library;
        start.Environment[NativeProbe.NvrtcVariable] = EmulatorBuild.Library;
        start.Environment[KernelCache.Variable] = Path.Combine(EmulatorBuild.Root, ".artifacts", "emulator", "kernels");
        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }

        CancellationToken stop = TestContext.Current.CancellationToken;
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(stop), error = process.StandardError.ReadToEndAsync(stop);
        await process.WaitForExitAsync(stop).WaitAsync(TimeSpan.FromMinutes(2), stop);
        return (process.ExitCode, await output, await error);
    }
}
