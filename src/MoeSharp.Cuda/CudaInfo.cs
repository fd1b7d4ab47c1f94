using MoeSharp.Core;
using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <summary>What this machine offers for CUDA, for a report: libraries, versions, devices, kernels.</summary>
/// <param name="Probe">Every attempt to find the driver and NVRTC.</param>
/// <param name="Driver">Newest CUDA version that the driver supports, as <c>12.4</c>; null without one.</param>
/// <param name="Nvrtc">Version of NVRTC; null without one.</param>
/// <param name="Devices">The devices, each with the architecture that kernels are compiled for.</param>
/// <param name="Problems">What does not work, in words; empty when nothing failed.</param>
/// <param name="CacheFolder">Where compiled kernels are kept.</param>
/// <param name="CacheBytes">Their size.</param>
/// <param name="KernelFolder">Folder of kernels compiled beforehand; null when none is named.</param>
public sealed record CudaInfo(
    NativeProbeResult Probe,
    string? Driver,
    string? Nvrtc,
    IReadOnlyList<(CudaDeviceInfo Device, string Architecture)> Devices,
    IReadOnlyList<string> Problems,
    string CacheFolder,
    long CacheBytes,
    string? KernelFolder)
{
    /// <summary>Looks; makes no context and launches nothing. What fails becomes a line of <see cref="Problems"/>.</summary>
    /// <param name="host">Where native libraries are looked for; this machine when null.</param>
    public static CudaInfo Collect(ProbeHost? host = null)
    {
        NativeProbeResult probe = NativeProbe.Run(host);
        var problems = new List<string>();
        Try(problems, () => CudaLibraries.Use(probe));
        string? driver = null, nvrtc = null, folder = null;
        var devices = new List<(CudaDeviceInfo, string)>();
        if (probe.Nvrtc is not null)
        {
            Try(problems, () => nvrtc = KernelCompiler.Version);
        }

        if (probe.Driver is not null)
        {
            Try(problems, () =>
            {
                CudaContext.Initialize();
                driver = CudaContext.VersionText(CudaContext.DriverVersion());
                CudaException.Check(Native.Driver.cuDeviceGetCount(out int count), "cuDeviceGetCount");
                for (int i = 0; i < count; i++)
                {
                    CudaException.Check(Native.Driver.cuDeviceGet(out int device, i), "cuDeviceGet");
                    CudaDeviceInfo info = CudaDeviceInfo.Of(device);
                    devices.Add((info, Architecture(info, nvrtc)));
                }
            });
        }

        Try(problems, () => folder = Cuda.KernelFolder.Find(null));
        var cache = new KernelCache();
        return new CudaInfo(probe, driver, nvrtc, devices, problems, cache.Folder, cache.Bytes, folder);
    }

    private static string Architecture(CudaDeviceInfo info, string? nvrtc) =>
        nvrtc is null ? KernelCompiler.NameOf((10 * info.Major) + info.Minor) : KernelCompiler.Architecture(info.Major, info.Minor);

    private static void Try(List<string> problems, Action look)
    {
        try
        {
            look();
        }
        catch (Exception error) when (error is MoeSharpException or InvalidOperationException or IOException)
        {
            problems.Add(error.Message);
        }
    }
}
