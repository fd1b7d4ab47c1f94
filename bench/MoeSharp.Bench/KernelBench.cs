using System.Globalization;
using System.Text;
using MoeSharp.Core;
using MoeSharp.Profiling;

namespace MoeSharp.Bench;

/// <summary>
/// Every op of published MoE layers on one device, one line per kernel: median, spread, TFLOP/s, GB/s and share of the roofline. On CUDA with
/// events, warm-up and a cold second-level cache; on the CPU with the host's clock.
/// </summary>
/// <remarks><c>kernels [--device D] [--dtype fp32|bf16] [--shapes a,b|all] [--rhos 1,0.5] [--tokens T] [--samples N] [--out FILE]</c></remarks>
public static class KernelBench
{
    private static readonly string[] s_options = ["--device", "--dtype", "--shapes", "--rhos", "--tokens", "--samples", "--out"];

    /// <summary>Runs with the words after <c>kernels</c>.</summary>
    public static int Run(string[] args)
    {
        if (Enumerable.Range(0, args.Length).Any(i => i % 2 == 0 && !s_options.Contains(args[i])) || args.Length % 2 != 0)
        {
            Console.Error.WriteLine($"kernels takes {string.Join(", ", s_options)}, each with a value; got: {string.Join(' ', args)}");
            return 2;
        }

        string shapes = Value(args, "--shapes", "small");
        ProfileShape[] selected = shapes == "all" ? [.. ProfileShape.Known] : [.. shapes.Split(',').Select(ProfileShape.Find)];
        double[] rhos = [.. Value(args, "--rhos", "1,0.5,0.25").Split(',').Select(text => double.Parse(text, CultureInfo.InvariantCulture))];
        var options = new EngineOptions
        {
            Device = Value(args, "--device", "auto"),
            FloatType = Value(args, "--dtype", "fp32") == "bf16" ? DType.BFloat16 : DType.Float32,
        };
        using var engine = Engine.Create(options);
        string text = Table(engine, selected, rhos, int.Parse(Value(args, "--tokens", "0"), CultureInfo.InvariantCulture), int.Parse(Value(args, "--samples", "30"), CultureInfo.InvariantCulture), args);
        if (Value(args, "--out", string.Empty) is { Length: > 0 } file)
        {
            File.WriteAllText(file + ".part", text);
            File.Move(file + ".part", file, overwrite: true);
        }

        Console.WriteLine(text);
        return 0;
    }

    private static string Table(Engine engine, ProfileShape[] shapes, double[] rhos, int tokens, int samples, string[] args)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# MoE kernels\n\n`dotnet run -c Release --project bench/MoeSharp.Bench -- kernels {string.Join(' ', args)}`\n");
        var profiler = new LayerProfiler(engine, samples);
        foreach (ProfileShape shape in shapes)
        {
            foreach (double rho in rhos)
            {
                ProfileShape measured = shape with { Rho = rho, Tokens = tokens > 0 ? tokens : shape.Tokens };
                text.Append('\n').Append(profiler.Run(measured).ToMarkdown());
            }
        }

        return text.ToString();
    }

    private static string Value(string[] args, string name, string otherwise)
    {
        int at = Array.IndexOf(args, name);
        return at >= 0 && at + 1 < args.Length ? args[at + 1] : otherwise;
    }
}
