using System.Diagnostics;
using System.Reflection;
using System.Text.Json;
using MoeSharp.Core;
using MoeSharp.Cpu;

namespace MoeSharp.Bench;

/// <summary>MoeSharp's side of bench/peers/cpu: answers one line of JSON per line of JSON, measuring what it is told to.</summary>
internal static class PeerWorker
{
    /// <summary>Runs until "quit" or the end of the input.</summary>
    public static int Run()
    {
        int threads = 1;
        CpuBackend? backend = null;
        PeerLayer? layer = null;
        CpuRates? rates = null;
        while (Console.ReadLine() is { } line)
        {
            using JsonDocument request = JsonDocument.Parse(line);
            JsonElement root = request.RootElement;
            object answer;
            switch (root.GetProperty("cmd").GetString())
            {
                case "hello":
                    threads = root.GetProperty("threads").GetInt32();
                    rates = new CpuRates(threads);
                    string version = typeof(PeerWorker).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+')[0];
                    answer = new { name = $"MoeSharp {version}, .NET {Environment.Version}", threads, cpu = Program.ProcessorName() };
                    break;
                case "case":
                    layer?.Dispose();
                    backend?.Dispose();
                    DType type = root.GetProperty("dtype").GetString() == "bf16" ? DType.BFloat16 : DType.Float32;
                    backend = new CpuBackend(threads, type);
                    layer = new PeerLayer(
                        backend, Integer(root, "T"), Integer(root, "d"), Integer(root, "n"), Integer(root, "E"), Integer(root, "K"),
                        root.GetProperty("rho").GetDouble(), root.GetProperty("backward").GetBoolean());
                    layer.Run(root.GetProperty("backward").GetBoolean());
                    answer = new { rows = layer.Rows, experts = layer.Experts, isa = CpuIsas.Spelling(backend.Isa) };
                    break;
                case "sample":
                    answer = layer!.Sample(root.GetProperty("backward").GetBoolean());
                    break;
                case "run":
                    bool backward = root.GetProperty("backward").GetBoolean();
                    int repeats = Integer(root, "repeats");
                    TimeSpan cpu = Environment.CpuUsage.TotalTime;
                    long start = Stopwatch.GetTimestamp();
                    for (int i = 0; i < repeats; i++)
                    {
                        layer!.Run(backward);
                    }

                    answer = new { seconds = Stopwatch.GetElapsedTime(start).TotalSeconds / repeats, cpu = (Environment.CpuUsage.TotalTime - cpu).TotalSeconds / repeats };
                    break;
                case "rates":
                    answer = new { fma = rates!.MultiplyAdds(), dot = rates.Pairs(), bandwidth = rates.Bandwidth() };
                    break;
                case "quit":
                    rates?.Dispose();
                    layer?.Dispose();
                    backend?.Dispose();
                    return 0;
                case var other:
                    throw new InvalidOperationException($"unknown command '{other}'");
            }

            Console.WriteLine(JsonSerializer.Serialize(answer));
        }

        return 0;
    }

    private static int Integer(JsonElement root, string name) => root.GetProperty(name).GetInt32();
}
