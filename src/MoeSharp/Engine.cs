using MoeSharp.Core;
using MoeSharp.Cpu;
using MoeSharp.Cuda;

namespace MoeSharp;

/// <summary>The front door: makes the backend that computes everything, and says which one it is and why.</summary>
/// <remarks>A device that was named is never silently replaced; only <c>auto</c> chooses, and its report tells the reason.</remarks>
public sealed class Engine : IDisposable
{
    private Engine(Backend backend, BackendReport report)
    {
        Backend = backend;
        Report = report;
    }

    /// <summary>Computes; owned by the engine.</summary>
    public Backend Backend { get; }

    /// <summary>Which backend it is, and why.</summary>
    public BackendReport Report { get; }

    /// <summary>Makes an engine.</summary>
    /// <param name="options">Device, float type and threads; the defaults when null.</param>
    /// <param name="host">Where native libraries are looked for; this machine when null.</param>
    /// <exception cref="ArgumentException">The device name, the float type or the number of threads is not valid.</exception>
    /// <exception cref="BackendUnavailableException">The named device has no backend; the message lists what was tried.</exception>
    public static Engine Create(EngineOptions? options = null, ProbeHost? host = null)
    {
        options ??= new EngineOptions();
        if (options.Device.Trim().Equals("auto", StringComparison.OrdinalIgnoreCase))
        {
            return Auto(options, host);
        }

        if (!Device.TryParse(options.Device, out Device device))
        {
            throw new ArgumentException($"'{options.Device}' is not a device; use auto, cpu, cuda or cuda:N.", nameof(options));
        }

        if (device.Kind == DeviceKind.Cpu)
        {
            return Cpu(options, "the CPU was asked for", []);
        }

        CudaBackend backend = Cuda(options, device.Index, host);
        return new Engine(backend, new BackendReport(options.Device, backend.Name, $"{device} was asked for: {backend.Info.Name}", backend.Probe.Attempts));
    }

    /// <summary>Frees the backend. Dispose tensors and models before.</summary>
    public void Dispose() => Backend.Dispose();

    private static Engine Auto(EngineOptions options, ProbeHost? host)
    {
        NativeProbeResult probe = NativeProbe.Run(host);
        if (probe.Driver is null)
        {
            return Cpu(options, $"there is no CUDA driver{(probe.Nvrtc is null ? string.Empty : ", though there is NVRTC")}", probe.Attempts);
        }

        try
        {
            CudaBackend backend = Cuda(options, 0, host);
            return new Engine(backend, new BackendReport(options.Device, backend.Name, $"{backend.Info.Name} works", probe.Attempts));
        }
        catch (Exception error) when (error is MoeSharpException or InvalidOperationException or DllNotFoundException or EntryPointNotFoundException)
        {
            string reason = error.Message.Split('\n')[0].Trim().TrimEnd(':');
            return Cpu(options, $"CUDA does not work here: {reason}", probe.Attempts);
        }
    }

    /// <summary>A CUDA backend that has computed something: a driver that loads may still not work.</summary>
    private static CudaBackend Cuda(EngineOptions options, int index, ProbeHost? host)
    {
        var backend = new CudaBackend(new CudaOptions { DeviceIndex = index, FloatType = options.FloatType }, host);
        try
        {
            using Tensor smoke = backend.EmptyWide(1);
            backend.Fill(smoke, 1);
            if (smoke.ToDoubles() is not [1.0])
            {
                throw new BackendUnavailableException($"{backend.Info.Name} computes wrong results: filling one number gave another.");
            }

            return backend;
        }
        catch
        {
            backend.Dispose();
            throw;
        }
    }

    private static Engine Cpu(EngineOptions options, string reason, IReadOnlyList<ProbeAttempt> attempts)
    {
        if (options.FloatType != DType.Float32)
        {
            throw new ArgumentException($"The CPU backend computes in Float32, not in {options.FloatType}; use a CUDA device for that ({reason}).", nameof(options));
        }

        var backend = new CpuBackend(options.Threads);
        return new Engine(backend, new BackendReport(options.Device, backend.Name, reason, attempts));
    }
}
