using System.CommandLine;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using System.Text.Json;
using MoeSharp.Cpu;
using MoeSharp.Cuda;

namespace MoeSharp.Cli;

/// <summary><c>moe info</c>: what this machine offers, what was looked for, and which variables change it.</summary>
internal static class InfoCommand
{
    private const string Name = "info";

    private static readonly (string Name, string Meaning)[] s_variables =
    [
        (CpuIsas.Variable, "auto, simd, avx512_bf16 or amx: what bf16 products on the CPU are made of"),
        (NativeProbe.DriverVariable, "CUDA driver library to load"),
        (NativeProbe.NvrtcVariable, "NVRTC library to load"),
        ("CUDA_PATH", "CUDA toolkit to look into"),
        ("CUDA_HOME", "CUDA toolkit to look into, after CUDA_PATH"),
        ("VIRTUAL_ENV", "Python environment to look for NVRTC in"),
        ("CONDA_PREFIX", "Conda environment to look for NVRTC in"),
        (KernelFolder.Variable, "folder of kernels compiled beforehand"),
        (KernelCache.Variable, "folder to keep compiled kernels in"),
        ("MOESHARP_TRACK_ALLOCATIONS", "1: remember where tensors were allocated"),
        (CommandHost.TraceVariable, "1: stack traces after error messages"),
        ("NO_COLOR", "not empty: no colours"),
    ];

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandHost host)
    {
        var command = new CliCommand(
            Name, "Show devices, native libraries that were looked for, versions and environment variables.", "moe info", "moe info --format json");
        command.SetAction(host.Action((_, context) =>
        {
            CudaInfo cuda = CudaInfo.Collect();
            using var engine = Engine.Create(new EngineOptions());
            if (context.Json)
            {
                WriteJson(context, cuda, engine.Report);
            }
            else
            {
                WriteText(context, cuda, engine.Report);
            }

            return 0;
        }));
        return command;
    }

    private static string Version => typeof(InfoCommand).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "unknown";

    private static string VectorUnits => string.Join(
        ", ",
        new[] { ("AVX-512", Avx512F.IsSupported), ("AVX2", Avx2.IsSupported), ("FMA", Fma.IsSupported), ("NEON", System.Runtime.Intrinsics.Arm.AdvSimd.IsSupported) }
            .Where(unit => unit.Item2).Select(unit => unit.Item1).DefaultIfEmpty("none"));

    private static string BFloat16Unit => CpuIsas.Spelling(CpuIsas.Choose(Environment.GetEnvironmentVariable(CpuIsas.Variable)));

    private static string WithoutTiles => CpuIsas.Missing(CpuIsa.Amx) is { } missing ? $" (not amx: {missing})" : string.Empty;

    private static void WriteText(CommandContext context, CudaInfo cuda, BackendReport backend)
    {
        TextWriter output = context.Output;
        TextReport.Pairs(
            output,
            ("moe", Version),
            (".NET", RuntimeInformation.FrameworkDescription),
            ("system", $"{RuntimeInformation.OSDescription.Trim()}, {RuntimeInformation.RuntimeIdentifier}"),
            ("processors", $"{Environment.ProcessorCount}, vector units: {VectorUnits}; bf16 products: {BFloat16Unit}{WithoutTiles}"),
            ("memory", TextReport.Bytes(GC.GetGCMemoryInfo().TotalAvailableMemoryBytes)),
            ("backend", $"{backend.Chosen}: {backend.Reason}"),
            ("CUDA driver", cuda.Driver is null ? "none" : $"supports CUDA {cuda.Driver}"),
            ("NVRTC", cuda.Nvrtc ?? "none"),
            ("kernel cache", $"{cuda.CacheFolder}, {TextReport.Bytes(cuda.CacheBytes)}"),
            ("compiled kernels", cuda.KernelFolder ?? "none"));
        foreach ((CudaDeviceInfo device, string architecture) in cuda.Devices)
        {
            output.WriteLine($"device cuda:{device.Ordinal}: {device.Name}, {TextReport.Bytes(device.MemoryBytes)}, {device.Multiprocessors} multiprocessors, kernels for {architecture}");
        }

        foreach (string problem in cuda.Problems)
        {
            output.WriteLine($"problem: {problem}");
        }

        output.WriteLine();
        output.WriteLine("Native libraries that were looked for:");
        TextReport.Table(
            output,
            ["library", "name or path", "because of", "result"],
            [.. cuda.Probe.Attempts.Select(attempt => new[] { Kind(attempt), attempt.Path, attempt.Source, attempt.Result })]);
        output.WriteLine();
        output.WriteLine("Environment variables:");
        TextReport.Table(
            output,
            ["variable", "value", "meaning"],
            [.. s_variables.Select(variable => new[] { variable.Name, Environment.GetEnvironmentVariable(variable.Name) ?? "-", variable.Meaning })]);
    }

    private static void WriteJson(CommandContext context, CudaInfo cuda, BackendReport backend) =>
        JsonReport.Write(context.Output, Name, json =>
        {
            json.WriteString("version", Version);
            json.WriteString("runtime", RuntimeInformation.FrameworkDescription);
            json.WriteString("system", RuntimeInformation.OSDescription.Trim());
            json.WriteString("runtime_identifier", RuntimeInformation.RuntimeIdentifier);
            json.WriteNumber("processors", Environment.ProcessorCount);
            json.WriteString("vector_units", VectorUnits);
            json.WriteString("bf16_products", BFloat16Unit);
            json.WriteString("amx_missing", CpuIsas.Missing(CpuIsa.Amx));
            json.WriteNumber("memory_bytes", GC.GetGCMemoryInfo().TotalAvailableMemoryBytes);
            json.WriteString("cuda_driver", cuda.Probe.Driver);
            json.WriteString("cuda_driver_version", cuda.Driver);
            json.WriteString("nvrtc", cuda.Probe.Nvrtc);
            json.WriteString("nvrtc_version", cuda.Nvrtc);
            json.WriteString("kernel_cache", cuda.CacheFolder);
            json.WriteNumber("kernel_cache_bytes", cuda.CacheBytes);
            json.WriteString("kernel_folder", cuda.KernelFolder);
            WriteDevices(json, cuda);
            json.WriteStartArray("probes");
            foreach (ProbeAttempt attempt in cuda.Probe.Attempts)
            {
                json.WriteStartObject();
                json.WriteString("library", Kind(attempt));
                json.WriteString("path", attempt.Path);
                json.WriteString("source", attempt.Source);
                json.WriteBoolean("found", attempt.Found);
                json.WriteString("result", attempt.Result);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteStartObject("environment");
            foreach ((string name, _) in s_variables)
            {
                json.WriteString(name, Environment.GetEnvironmentVariable(name));
            }

            json.WriteEndObject();
            json.Backend(backend);
        });

    private static void WriteDevices(Utf8JsonWriter json, CudaInfo cuda)
    {
        json.WriteStartArray("cuda_devices");
        foreach ((CudaDeviceInfo device, string architecture) in cuda.Devices)
        {
            json.WriteStartObject();
            json.WriteNumber("ordinal", device.Ordinal);
            json.WriteString("name", device.Name);
            json.WriteString("compute_capability", $"{device.Major}.{device.Minor}");
            json.WriteString("architecture", architecture);
            json.WriteNumber("multiprocessors", device.Multiprocessors);
            json.WriteNumber("memory_bytes", device.MemoryBytes);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("cuda_problems");
        foreach (string problem in cuda.Problems)
        {
            json.WriteStringValue(problem);
        }

        json.WriteEndArray();
    }

    private static string Kind(ProbeAttempt attempt) => attempt.Library == NativeLibraryKind.Driver ? "cuda_driver" : "nvrtc";
}
