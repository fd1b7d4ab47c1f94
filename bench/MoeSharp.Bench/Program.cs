using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Running;

namespace MoeSharp.Bench;

/// <summary>
/// <c>smoke</c> runs every benchmark method once at its smallest parameters and one small sparsity table; <c>sparsity [--out FILE]</c>
/// writes the table of time against rho; <c>kernels</c> times every op of known layers on a device; <c>worker</c> serves
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

            {ProcessorName()}, {Environment.ProcessorCount} logical processors, {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSDescription}

            {SparsityTable.Measure(2048, 512, 1024, 16, 2, 15)}
            {SparsityTable.Measure(2048, 512, 1024, 16, 4, 15)}
            """;
        int flag = Array.IndexOf(args, "--out");
        if (flag >= 0 && flag + 1 < args.Length)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(args[flag + 1]))!);
            File.WriteAllText(args[flag + 1], table);
        }

        Console.WriteLine(table);
        return 0;
    }

    internal static string ProcessorName()
    {
        const string CpuInfo = "/proc/cpuinfo";
        string? line = File.Exists(CpuInfo)
            ? File.ReadLines(CpuInfo).FirstOrDefault(text => text.StartsWith("model name", StringComparison.Ordinal))
            : null;
        return line?.Split(':', 2)[1].Trim() ?? RuntimeInformation.ProcessArchitecture.ToString();
    }
}
