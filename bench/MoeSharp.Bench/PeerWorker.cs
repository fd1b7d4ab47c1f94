using System.Diagnostics;
using System.Reflection;
using System.Text.Json;
using MoeSharp.Core;
using MoeSharp.Cpu;

namespace MoeSharp.Bench;

/// <summary>MoeSharp's side of bench/peers/cpu: answers one line of JSON per line of JSON, measuring what it is told to.</summary>
/// <remarks>Weights, backends and measured machines are kept from case to case: making them takes longer than most measurements.</remarks>
internal sealed class PeerWorker : IDisposable
{
    private const long MemoryBytes = 256L << 20;
    private readonly Dictionary<(int Threads, DType Type), CpuBackend> _backends = [];
    private readonly Dictionary<int, CpuRates> _rates = [];
    private PeerWeights? _weights;
    private PeerLayer? _layer;

    /// <summary>Runs until "quit" or the end of the input.</summary>
    public static int Run()
    {
        using var worker = new PeerWorker();
        while (Console.ReadLine() is { } line)
        {
            using JsonDocument request = JsonDocument.Parse(line);
            JsonElement root = request.RootElement;
            string? command = root.GetProperty("cmd").GetString();
            if (command == "quit")
            {
                break;
            }

            Console.WriteLine(JsonSerializer.Serialize(worker.Answer(command, root)));
        }

        return 0;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _layer?.Dispose();
        _weights?.Dispose();
        foreach (CpuBackend backend in _backends.Values)
        {
            backend.Dispose();
        }

        foreach (CpuRates rates in _rates.Values)
        {
            rates.Dispose();
        }
    }

    private object Answer(string? command, JsonElement root) => command switch
    {
        "hello" => Hello(),
        "case" => Case(root),
        "sample" => Sample(root.GetProperty("backward").GetBoolean()),
        "run" => Time(root.GetProperty("backward").GetBoolean(), Integer(root, "repeats")),
        "rates" => Rates(Integer(root, "threads"), root.GetProperty("all").GetBoolean()),
        _ => throw new InvalidOperationException($"unknown command '{command}'"),
    };

    private static object Hello()
    {
        string version = typeof(PeerWorker).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+')[0];
        return new
        {
            name = $"MoeSharp {version}, .NET {Environment.Version}",

            // Equal sources give equal identifiers, so samples of another build are not taken for those of this one.
            build = typeof(CpuBackend).Module.ModuleVersionId.ToString("N")[..8],
            cpu = Program.ProcessorName(),
        };
    }

    private object Case(JsonElement root)
    {
        DType type = root.GetProperty("dtype").GetString() == "bf16" ? DType.BFloat16 : DType.Float32;
        (int, DType) key = (Integer(root, "threads"), type);
        if (!_backends.TryGetValue(key, out CpuBackend? backend))
        {
            _backends[key] = backend = new CpuBackend(key.Item1, type);
        }

        _layer?.Dispose();
        _layer = null;
        (int experts, int hidden, int width) = (Integer(root, "E"), Integer(root, "d"), Integer(root, "n"));
        if (_weights is null || !_weights.Fit(type, experts, hidden, width))
        {
            _weights?.Dispose();
            _weights = new PeerWeights(backend, experts, hidden, width);
        }

        _layer = new PeerLayer(
            backend, _weights, Integer(root, "T"), Integer(root, "K"), root.GetProperty("rho").GetDouble(), root.GetProperty("backward").GetBoolean());
        return new { rows = _layer.Rows, experts = _layer.Experts, isa = CpuIsas.Spelling(backend.Isa) };
    }

    private object Sample(bool backward)
    {
        long start = Stopwatch.GetTimestamp();
        _layer!.Clear();
        _layer.Run(backward);
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        return new { seconds, results = _layer.Sample(backward) };
    }

    private object Time(bool backward, int repeats)
    {
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < repeats; i++)
        {
            _layer!.Run(backward);
        }

        return new { seconds = Stopwatch.GetElapsedTime(start).TotalSeconds / repeats };
    }

    private object Rates(int threads, bool all)
    {
        if (!_rates.TryGetValue(threads, out CpuRates? rates))
        {
            _rates[threads] = rates = new CpuRates(threads, MemoryBytes);
        }

        return new { fma = rates.MultiplyAdds(), dot = all ? rates.Pairs() : 0, bandwidth = all ? rates.Bandwidth() : 0 };
    }

    private static int Integer(JsonElement root, string name) => root.GetProperty(name).GetInt32();
}
