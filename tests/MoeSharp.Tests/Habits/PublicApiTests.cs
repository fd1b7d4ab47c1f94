using System.Reflection;
using System.Text;
using MoeSharp.Autograd;
using MoeSharp.Compression;
using MoeSharp.Core;
using MoeSharp.Cpu;
using MoeSharp.Cuda;
using MoeSharp.Models;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>
/// The public surface as committed text, so that a change shows in review. <c>MOESHARP_UPDATE_SNAPSHOTS=1</c> rewrites it.
/// </summary>
public sealed class PublicApiTests
{
    private static readonly Assembly[] s_assemblies =
    [
        typeof(Tensor).Assembly, typeof(CpuBackend).Assembly, typeof(NativeProbe).Assembly,
        typeof(Tape).Assembly, typeof(Transformer).Assembly, typeof(DenseSplit).Assembly, typeof(Engine).Assembly,
    ];

    [Fact]
    public void PublicApi_IsAsCommitted()
    {
        string dump = Dump();
        string path = Repository.PathOf("tests", "MoeSharp.Tests", "Habits", "PublicApi.txt");
        if (Environment.GetEnvironmentVariable("MOESHARP_UPDATE_SNAPSHOTS") == "1")
        {
            File.WriteAllText(path, dump);
        }

        Assert.Equal(File.ReadAllText(path), dump);
    }

    private static string Dump()
    {
        var text = new StringBuilder();
        foreach (Assembly assembly in s_assemblies)
        {
            text.Append("# ").Append(assembly.GetName().Name).Append('\n');
            foreach (Type type in assembly.GetExportedTypes().OrderBy(type => type.FullName, StringComparer.Ordinal))
            {
                text.Append(Kind(type)).Append(' ').Append(type.FullName).Append('\n');
                IEnumerable<string> members = type
                    .GetMembers(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly)
                    .Where(member => member is not MethodInfo { IsSpecialName: true } && !member.Name.Contains('<', StringComparison.Ordinal))
                    .Where(member => member is not Type)
                    .Select(member => member.ToString()!.Replace('\n', ' '))
                    .Order(StringComparer.Ordinal);
                foreach (string member in members)
                {
                    text.Append("  ").Append(member).Append('\n');
                }
            }
        }

        return text.ToString();
    }

    private static string Kind(Type type) =>
        type.IsEnum ? "enum" : type.IsValueType ? "struct" : type.IsInterface ? "interface"
        : type is { IsAbstract: true, IsSealed: true } ? "static class" : type.IsAbstract ? "abstract class" : "class";
}
