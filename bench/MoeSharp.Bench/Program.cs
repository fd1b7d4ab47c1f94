using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Running;

namespace MoeSharp.Bench;

/// <summary>
/// <c>smoke</c> runs every benchmark method once at its smallest parameters and one small sparsity table; <c>sparsity [--out FILE]</c>
/// writes the table of time against rho; <c>realised [--out FILE]</c> that of time against counted FLOPs, and fails when more than 1.25 times
/// the counted share of the time is left; <c>kernels</c> times every op of known layers on a device; <c>worker</c> serves
/// bench/peers/cpu; anything else goes to BenchmarkDotNet (<c>--filter '*Dispatch*'</c>, <c>--list flat</c>).
/// </summary>
public static class Program
{
    public static int Main(string[] args)
    {
        switch (args.FirstOrDefault())
        {
            case "smoke":
                return Smoke();
            case "kernels":
                return KernelBench.Run(args[1..]);
            case "worker":
                return PeerWorker.Run();
            case "sparsity":
                return Sparsity(args);
            case "realised":
                return Realised(args);
            default:
                BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
                return 0;
        }
    }

    private static int Smoke()
    {
        int passed = 0;
        IEnumerable<Type> classes = typeof(Program).Assembly.GetTypes()
            .Where(type => !type.IsAbstract && type.GetMethods().Any(method => method.GetCustomAttribute<BenchmarkAttribute>() is not null))
            .OrderBy(type => type.Name, StringComparer.Ordinal);
        foreach (Type type in classes)
        {
            object bench = Activator.CreateInstance(type)!;
            foreach (PropertyInfo property in type.GetProperties())
            {
                if (property.GetCustomAttribute<ParamsAttribute>() is { } parameters)
                {
                    property.SetValue(bench, parameters.Values[0]);
                }
            }

            Invoke<GlobalSetupAttribute>(bench);
            foreach (MethodInfo method in type.GetMethods().Where(method => method.GetCustomAttribute<BenchmarkAttribute>() is not null))
            {
                method.Invoke(bench, null);
                Console.WriteLine($"smoke {type.Name}.{method.Name}: ran");
                passed++;
            }

            Invoke<GlobalCleanupAttribute>(bench);
        }

        Console.WriteLine(SparsityTable.Measure(256, 128, 64, 8, 4, 3));
        Console.WriteLine(RealisedTable.Threshold(256, 64, 8, 128, 3).Text);
        Console.WriteLine(RealisedTable.Nulls(256, 64, 32, 8, 4, 3).Text);
        KernelBench.Run(["--device", "cpu", "--tokens", "128", "--rhos", "0.5", "--samples", "2"]);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"smoke: {passed} benchmarks ran"));
        return passed > 0 ? 0 : 1;
    }

    private static void Invoke<TAttribute>(object bench)
        where TAttribute : Attribute
    {
        foreach (MethodInfo method in bench.GetType().GetMethods().Where(method => method.GetCustomAttribute<TAttribute>() is not null))
        {
            method.Invoke(bench, null);
        }
    }

    private static int Sparsity(string[] args)
    {
        string table = $"""
            # Time of experts + combine against rho, at equal K

            `dotnet run -c Release --project bench/MoeSharp.Bench -- sparsity --out FILE`

            {Machine()}

            {SparsityTable.Measure(2048, 512, 1024, 16, 2, 15)}
            {SparsityTable.Measure(2048, 512, 1024, 16, 4, 15)}
            """;
        Write(args, table);
        return 0;
    }

    private static int Realised(string[] args)
    {
        const int Tokens = 4096, Hidden = 512, Width = 2048, Rounds = 9;
        (string Text, double Worst)[] parts =
        [
            RealisedTable.Threshold(Tokens, Hidden, 16, Width, Rounds),
            RealisedTable.Threshold(Tokens, Hidden, 32, Width, Rounds),
            RealisedTable.Nulls(Tokens, Hidden, 512, 16, 4, Rounds),
        ];
        double worst = parts.Max(part => part.Worst);
        Write(args, string.Create(CultureInfo.InvariantCulture, $"""
            # Time of the expert part against its counted FLOPs

            `dotnet run -c Release --project bench/MoeSharp.Bench -- realised --out FILE`

            {Machine()}

            Dispatch, experts and combine, and their gradients. FLOPs and time are shares of the first row; time / FLOPs is 1 when every FLOP
            that a router saves saves its share of the time, and at most {RealisedTable.Limit} is asked for. The largest of these tables is {worst:F2}.

            ## Threshold routing: {Width} wide in all, 16 experts

            {parts[0].Text}
            ## Threshold routing: {Width} wide in all, 32 experts

            {parts[1].Text}
            ## Null experts

            {parts[2].Text}
            """));
        return worst <= RealisedTable.Limit ? 0 : 1;
    }

    private static void Write(string[] args, string table)
    {
        int flag = Array.IndexOf(args, "--out");
        if (flag >= 0 && flag + 1 < args.Length)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(args[flag + 1]))!);
            File.WriteAllText(args[flag + 1], table);
        }

        Console.WriteLine(table);
    }

    private static string Machine() =>
        $"{ProcessorName()}, {Environment.ProcessorCount} logical processors, {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSDescription}";

    internal static string ProcessorName()
    {
        const string CpuInfo = "/proc/cpuinfo";
        string? line = File.Exists(CpuInfo)
            ? File.ReadLines(CpuInfo).FirstOrDefault(text => text.StartsWith("model name", StringComparison.Ordinal))
            : null;
        return line?.Split(':', 2)[1].Trim() ?? RuntimeInformation.ProcessArchitecture.ToString();
    }
}
