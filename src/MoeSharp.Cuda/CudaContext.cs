using System.Globalization;
using MoeSharp.Core;
using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <summary>A driver context: the device's primary one, or one that the application brought. The application's current context is never changed.</summary>
internal sealed class CudaContext : IDisposable
{
    // cuLaunchKernelEx came with CUDA 11.8.
    private const int OldestDriver = 11080;
    private readonly bool _owned;

    private CudaContext(nint handle, int device, bool owned)
    {
        Handle = handle;
        _owned = owned;
        Info = CudaDeviceInfo.Of(device);
        if (Info.Major < 8)
        {
            throw new BackendUnavailableException($"Device {device}, {Info.Name}, has compute capability {Info.Major}.{Info.Minor}; the kernels need 8.0 (Ampere) or newer.");
        }

        if (!Info.HasMemoryPools)
        {
            throw new BackendUnavailableException($"Device {device}, {Info.Name}, has no stream-ordered memory pools (cuMemAllocFromPoolAsync); the engine allocates through them. A newer driver, or bare metal instead of this virtual GPU, has them.");
        }
    }

    /// <summary>CUcontext.</summary>
    public nint Handle { get; }

    /// <summary>The device.</summary>
    public CudaDeviceInfo Info { get; }

    /// <summary>Highest CUDA version that the driver supports, as 12040 for 12.4.</summary>
    public static int DriverVersion()
    {
        CudaException.Check(Driver.cuDriverGetVersion(out int version), "cuDriverGetVersion");
        return version;
    }

    /// <summary>12.4 for 12040.</summary>
    public static string VersionText(int version) => string.Create(CultureInfo.InvariantCulture, $"{version / 1000}.{version % 1000 / 10}");

    /// <summary>Makes the driver ready; harmless when it is.</summary>
    /// <exception cref="BackendUnavailableException">The library is no CUDA driver, or too old.</exception>
    /// <exception cref="CudaException">There is no device, or the driver does not start.</exception>
    public static void Initialize()
    {
        try
        {
            CudaException.Check(Driver.cuInit(0), "cuInit");
        }
        catch (Exception error) when (error is DllNotFoundException or EntryPointNotFoundException)
        {
            throw new BackendUnavailableException($"{CudaLibraries.DriverPath} is no CUDA driver: it has no function cuInit, or does not load. Correct or clear {NativeProbe.DriverVariable}.", error);
        }

        int version = DriverVersion();
        if (version < OldestDriver)
        {
            throw new BackendUnavailableException($"The CUDA driver supports CUDA {VersionText(version)}; the engine needs {VersionText(OldestDriver)} or newer (driver 520 on Linux). Update the driver.");
        }
    }

    /// <summary>The primary context of a device.</summary>
    /// <exception cref="BackendUnavailableException">There is no such device, or it or the driver is too old.</exception>
    public static CudaContext Primary(int ordinal)
    {
        Initialize();
        CudaException.Check(Driver.cuDeviceGetCount(out int count), "cuDeviceGetCount");
        if (ordinal >= count)
        {
            throw new BackendUnavailableException($"There is no device cuda:{ordinal}; the driver shows {count} device{(count == 1 ? string.Empty : "s")}.");
        }

        CudaException.Check(Driver.cuDeviceGet(out int device, ordinal), "cuDeviceGet");
        CudaException.Check(Driver.cuDevicePrimaryCtxRetain(out nint context, device), "cuDevicePrimaryCtxRetain");
        try
        {
            return new CudaContext(context, device, owned: true);
        }
        catch
        {
            _ = Driver.cuDevicePrimaryCtxRelease(device);
            throw;
        }
    }

    /// <summary>An application's context; it stays the application's.</summary>
    public static CudaContext Existing(nint handle)
    {
        Initialize();
        CudaException.Check(Driver.cuCtxPushCurrent(handle), "cuCtxPushCurrent", "The context handle is not one of the CUDA driver.");
        CudaError error = Driver.cuCtxGetDevice(out int device);
        CudaException.Check(Driver.cuCtxPopCurrent(out _), "cuCtxPopCurrent");
        CudaException.Check(error, "cuCtxGetDevice");
        return new CudaContext(handle, device, owned: false);
    }

    /// <summary>Makes the context current on this thread until the scope ends.</summary>
    public Scope Enter()
    {
        CudaException.Check(Driver.cuCtxGetCurrent(out nint current), "cuCtxGetCurrent");
        if (current == Handle)
        {
            return new Scope(false);
        }

        CudaException.Check(Driver.cuCtxPushCurrent(Handle), "cuCtxPushCurrent");
        return new Scope(true);
    }

    public void Dispose()
    {
        if (_owned)
        {
            _ = Driver.cuDevicePrimaryCtxRelease(Info.Ordinal);
        }
    }

    /// <summary>Pops the context when it was pushed.</summary>
    internal readonly ref struct Scope(bool pushed)
    {
        public void Dispose()
        {
            if (pushed)
            {
                _ = Driver.cuCtxPopCurrent(out _);
            }
        }
    }
}
