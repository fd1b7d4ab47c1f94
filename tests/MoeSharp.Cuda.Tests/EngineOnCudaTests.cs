using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Cuda.Tests;

/// <summary>The front door where CUDA works.</summary>
public sealed class EngineOnCudaTests
{
    [Theory]
    [InlineData("auto", "CUDA works here: MoeSharp emulator, Float32", 0)]
    [InlineData("cuda", "CUDA was asked for: MoeSharp emulator, Float32", 0)]
    [InlineData("cuda:1", "CUDA was asked for: MoeSharp emulator, Float32", 1)]
    public void Create_TakesCuda(string device, string reason, int ordinal)
    {
        var lines = new List<string>();
        using Engine engine = Engine.Create(new EngineOptions { Device = device, Log = lines.Add }, Emulated.Host);
        Assert.Equal(("cuda", reason), (engine.Report.Chosen, engine.Report.Reason));
        Assert.Equal(new Device(DeviceKind.Cuda, ordinal), engine.Backend.Device);
        Assert.Contains(engine.Report.Attempts, attempt => attempt is { Library: NativeLibraryKind.Nvrtc, Found: true });
        Assert.Empty(lines);
    }

    [Fact]
    public void Create_InBFloat16_KeepsSumsWide()
    {
        using Engine engine = Engine.Create(new EngineOptions { Device = "cuda", FloatType = DType.BFloat16 }, Emulated.Host);
        Assert.Equal((DType.BFloat16, DType.Float32), (engine.Backend.FloatType, engine.Backend.WideType));
    }

    [Fact]
    public void Create_OfADeviceThatIsNotThere_NeverFallsBack() => Assert.Equal(
        "cuda:63 cannot be used: There is no device cuda:63; the driver shows 2 devices.",
        Assert.Throws<BackendUnavailableException>(() => Engine.Create(new EngineOptions { Device = "cuda:63" }, Emulated.Host)).Message);

    [Fact]
    public void Info_ListsDevicesAndVersions()
    {
        CudaInfo info = CudaInfo.Collect(Emulated.Host);
        Assert.Equal(("12.4", 2), (info.Driver, info.Devices.Count));
        Assert.All(info.Devices, device => Assert.Equal(("MoeSharp emulator", "sm_90a"), (device.Device.Name, device.Architecture)));
        Assert.NotNull(info.Nvrtc);
        Assert.Empty(info.Problems);
    }
}
