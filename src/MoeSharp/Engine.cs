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
    /// <param name="options">Device and threads; the defaults when null.</param>
    /// <param name="host">Where native libraries are looked for; this machine when null.</param>
    /// <exception cref="ArgumentException">The device name or the number of threads is not valid.</exception>
    /// <exception cref="BackendUnavailableException">The named device has no backend; the message lists what was tried.</exception>
    public static Engine Create(EngineOptions? options = null, ProbeHost? host = null)
    {
        options ??= new EngineOptions();
        if (options.FloatType is not (DType.Float32 or DType.BFloat16))
        {
            throw new ArgumentException($"The engine computes in Float32 or BFloat16, not in {options.FloatType}.", nameof(options));
        }

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

        try
        {
            return Cuda(options, device.Index, host, "CUDA was asked for");
        }
        catch (Exception error) when (IsRefusal(error))
        {
            throw new BackendUnavailableException($"{device} cannot be used: {error.Message}", error);
        }
    }

    /// <summary>Frees the backend. Dispose tensors and models before.</summary>
    public void Dispose() => Backend.Dispose();

    private static Engine Auto(EngineOptions options, ProbeHost? host)
    {
        // Without a driver there is nothing to try, and nobody who expects a GPU.
        NativeProbeResult probe = NativeProbe.Run(host);
        if (probe.Driver is null)
        {
            return Cpu(options, probe.Nvrtc is null ? "no CUDA driver and no NVRTC were found" : "NVRTC was found, but no CUDA driver", probe.Attempts);
        }

        try
        {
            return Cuda(options, 0, host, "CUDA works here");
        }
        catch (Exception error) when (IsRefusal(error))
        {
            string problem = error.Message.Split(Environment.NewLine)[0];
            const string List = "Tried:";
            problem = problem.EndsWith(List, StringComparison.Ordinal) ? problem[..^List.Length].TrimEnd() : problem;
            string reason = $"CUDA does not work here: {problem.TrimEnd('.')}";
            options.Log?.Invoke($"Computing on the CPU: {reason}.");
            return Cpu(options, reason, probe.Attempts);
        }
    }

    /// <summary>Failures of a device, a driver or a compiler, as opposed to mistakes in this program.</summary>
    private static bool IsRefusal(Exception error) => error is MoeSharpException or OutOfMemoryException or IOException;

    private static Engine Cuda(EngineOptions options, int index, ProbeHost? host, string reason)
    {
        var backend = new CudaBackend(
            new CudaOptions { DeviceIndex = index, FloatType = options.FloatType, Cache = new KernelCache { Warning = options.Log } }, host);
        try
        {
            backend.SelfTest();
        }
        catch
        {
            backend.Dispose();
            throw;
        }

        return new Engine(backend, new BackendReport(options.Device, backend.Name, $"{reason}: {backend.Info.Name}, {backend.FloatType}", backend.Probe.Attempts));
    }

    private static Engine Cpu(EngineOptions options, string reason, IReadOnlyList<ProbeAttempt> attempts)
    {
        var backend = new CpuBackend(options.Threads, options.FloatType);
        return new Engine(backend, new BackendReport(options.Device, backend.Name, reason, attempts));
    }
}
