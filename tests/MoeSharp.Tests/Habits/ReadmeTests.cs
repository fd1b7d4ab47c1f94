using System.Reflection;
using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using MoeSharp.Cuda;
using MoeSharp.Emulator;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>The README says only what is true: its commands parse, its paths exist, its example compiles and runs.</summary>
public sealed partial class ReadmeTests
{
    private static readonly string s_readme = Repository.Read("README.md");

    public static TheoryData<string> Commands =>
        [.. ShellBlock().Matches(s_readme).SelectMany(block => block.Groups[1].Value.Split('\n'))
            .Select(line => line.Split('#')[0].Trim()).Where(line => line.Length > 0).Distinct()];

    [Theory]
    [MemberData(nameof(Commands))]
    public void Command_IsOneThatWorks(string command)
    {
        string[] words = [.. Word().Matches(command).Select(word => word.Value.Trim('"'))];
        switch (words)
        {
            case ["moe", .. string[] arguments]:
                AssertParses(arguments);
                break;
            case ["dotnet", "run", ..]:
                AssertProjectExists(words[Array.IndexOf(words, "--project") + 1]);
                if (words.Contains("src/MoeSharp.Cli"))
                {
                    AssertParses(words[(Array.IndexOf(words, "--") + 1)..]);
                }

                break;
            case ["dotnet", "test" or "build" or "restore" or "pack", string target, ..]:
                AssertProjectExists(target);
                break;
            case ["git", "clone", ..] or ["cd", _] or ["MOESHARP_UPDATE_SNAPSHOTS=1", ..] or ["dotnet", "tool", "install", ..]:
                break;
            default:
                Assert.Fail($"'{command}' is a kind of command that no test checks.");
                break;
        }
    }

    [Fact]
    public void TestCommand_IsTheOneThatCiRuns() =>
        Assert.Contains("dotnet test Engine.sln -c Release", Repository.Read(".ci", "run"), StringComparison.Ordinal);

    [Fact]
    public void Paths_Exist()
    {
        MatchCollection paths = LocalPath().Matches(s_readme);
        Assert.NotEmpty(paths);
        foreach (Match path in paths)
        {
            string relative = path.Groups[1].Value;
            Assert.True(Path.Exists(Repository.PathOf(relative)), $"The README points to {relative}, which is not there.");
        }
    }

    [Fact]
    public void Example_CompilesRunsAndPrintsWhatTheReadmeSays()
    {
        string code = CSharpBlock().Match(s_readme).Groups[1].Value;
        Assert.InRange(code.Trim().Split('\n').Length, 5, 30);
        string expected = OutputBlock().Match(s_readme[s_readme.IndexOf(code, StringComparison.Ordinal)..]).Groups[1].Value.Trim();
        Assert.NotEmpty(expected);
        Assert.Equal(expected, Run(code).Trim());
    }

    [Fact]
    public void CudaExample_CompilesRunsOnTheEmulatorAndPrintsWhatTheReadmeSays()
    {
        Assert.SkipUnless(EmulatorBuild.Library is not null || Environment.GetEnvironmentVariable("CI") == "true", EmulatorBuild.Reason);
        string code = CSharpBlock().Matches(s_readme)[1].Groups[1].Value;
        string expected = OutputBlock().Match(s_readme[s_readme.IndexOf(code, StringComparison.Ordinal)..]).Groups[1].Value.Trim();
        string[] variables = [NativeProbe.DriverVariable, NativeProbe.NvrtcVariable];
        string?[] before = [.. variables.Select(Environment.GetEnvironmentVariable)];
        try
        {
            Array.ForEach(variables, name => Environment.SetEnvironmentVariable(name, EmulatorBuild.Library ?? throw new InvalidOperationException(EmulatorBuild.Reason)));
            Assert.Equal(expected, Run(code).Trim());
        }
        finally
        {
            for (int i = 0; i < variables.Length; i++)
            {
                Environment.SetEnvironmentVariable(variables[i], before[i]);
            }
        }
    }

    private static string Run(string code)
    {
        string trusted = (string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!;
        MetadataReference[] references = [.. trusted.Split(Path.PathSeparator).Select(path => MetadataReference.CreateFromFile(path))];
        const string Usings = "using System; using System.Linq; using System.Collections.Generic; using System.IO;\n";
        CSharpCompilation compilation = CSharpCompilation.Create(
            "ReadmeExample", [CSharpSyntaxTree.ParseText(Usings + code)], references, new CSharpCompilationOptions(OutputKind.ConsoleApplication));
        using var image = new MemoryStream();
        Microsoft.CodeAnalysis.Emit.EmitResult result = compilation.Emit(image);
        Assert.True(result.Success, string.Join('\n', result.Diagnostics.Where(item => item.Severity == DiagnosticSeverity.Error)));
        MethodInfo main = Assembly.Load(image.ToArray()).EntryPoint!;
        TextWriter before = Console.Out;
        using var text = new StringWriter();
        try
        {
            Console.SetOut(text);
            main.Invoke(null, main.GetParameters().Length == 0 ? null : [Array.Empty<string>()]);
        }
        finally
        {
            Console.SetOut(before);
        }

        return text.ToString();
    }

    private static void AssertProjectExists(string path) =>
        Assert.True(Path.Exists(Repository.PathOf(path)), $"The README names {path}, which is not there.");

    private static void AssertParses(string[] arguments) => Assert.Empty(Cli.CommandTree.ParseErrors(arguments));

    [GeneratedRegex("\"[^\"]*\"|[^ \"]+")]
    private static partial Regex Word();

    [GeneratedRegex(@"```(?:bash|sh)\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex ShellBlock();

    [GeneratedRegex(@"```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharpBlock();

    [GeneratedRegex(@"```text\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex OutputBlock();

    [GeneratedRegex(@"\]\(((?!https?:)[^)#]+)\)")]
    private static partial Regex LocalPath();
}
