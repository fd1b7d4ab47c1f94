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
        if (options.Device.Trim().Equals("auto", StringComparison.OrdinalIgnoreCase))
        {
            NativeProbeResult probe = NativeProbe.Run(host);
            return Cpu(options, $"this version computes on the CPU only; {Found(probe)}", probe.Attempts);
        }

        if (!Device.TryParse(options.Device, out Device device))
        {
            throw new ArgumentException($"'{options.Device}' is not a device; use auto, cpu, cuda or cuda:N.", nameof(options));
        }

        if (device.Kind == DeviceKind.Cpu)
        {
            return Cpu(options, "the CPU was asked for", []);
        }

        NativeProbeResult tried = NativeProbe.Run(host);
        throw new BackendUnavailableException(
            $"There is no backend for {device}: this version computes on the CPU only; {Found(tried)}. Use cpu or auto. Tried:{string.Concat(tried.Attempts.Select(Line))}");
    }

    /// <summary>Frees the backend. Dispose tensors and models before.</summary>
    public void Dispose() => Backend.Dispose();

    private static Engine Cpu(EngineOptions options, string reason, IReadOnlyList<ProbeAttempt> attempts)
    {
        var backend = new CpuBackend(options.Threads);
        return new Engine(backend, new BackendReport(options.Device, backend.Name, reason, attempts));
    }

    private static string Found(NativeProbeResult probe) => (probe.Driver, probe.Nvrtc) switch
    {
        (null, null) => "no CUDA driver and no NVRTC were found",
        (null, _) => "NVRTC was found, but no CUDA driver",
        (_, null) => "a CUDA driver was found, but no NVRTC",
        _ => "a CUDA driver and NVRTC were found",
    };

    private static string Line(ProbeAttempt attempt) =>
        $"{Environment.NewLine}  {attempt.Library} {attempt.Path} ({attempt.Source}): {attempt.Result}";
}
