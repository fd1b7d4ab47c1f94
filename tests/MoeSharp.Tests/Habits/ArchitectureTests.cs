using System.Text.RegularExpressions;
using System.Xml.Linq;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>Who may import whom, who may touch the console, P/Invoke and JSON: the rules of the tree, checked against the files.</summary>
public sealed partial class ArchitectureTests
{
    // Direct references. What follows transitively (Models sees Core through Autograd) is allowed too.
    private static readonly Dictionary<string, string[]> s_allowed = new()
    {
        ["MoeSharp.Core"] = [],
        ["MoeSharp.Cpu"] = ["MoeSharp.Core"],
        ["MoeSharp.Cuda"] = ["MoeSharp.Core"],
        ["MoeSharp.Autograd"] = ["MoeSharp.Core"],
        ["MoeSharp.Models"] = ["MoeSharp.Autograd"],
        ["MoeSharp.Compression"] = ["MoeSharp.Models"],
        ["MoeSharp"] = ["MoeSharp.Compression", "MoeSharp.Cpu", "MoeSharp.Cuda"],
        ["MoeSharp.Experiments"] = ["MoeSharp.Compression"],
        ["MoeSharp.Cli"] = ["MoeSharp", "MoeSharp.Experiments"],
    };

    private static readonly string[] s_jsonProjects = ["MoeSharp.Models", "MoeSharp.Experiments", "MoeSharp.Cli"];

    public static TheoryData<string> Projects => [.. s_allowed.Keys];

    [Fact]
    public void Source_HasExactlyTheProjectsOfTheTable()
    {
        string[] found = [.. Directory.GetDirectories(Repository.PathOf("src")).Select(path => Path.GetFileName(path)).Order()];
        Assert.Equal(s_allowed.Keys.Order(), found);
    }

    [Theory]
    [MemberData(nameof(Projects))]
    public void Project_ReferencesOnlyWhatTheTableAllows(string project)
    {
        XDocument file = XDocument.Load(Repository.PathOf("src", project, project + ".csproj"));
        IEnumerable<string> references = file.Descendants("ProjectReference")
            .Select(item => Path.GetFileNameWithoutExtension(item.Attribute("Include")!.Value.Replace('\\', '/')));
        Assert.Equal(s_allowed[project].Order(), references.Order());
    }

    [Theory]
    [MemberData(nameof(Projects))]
    public void Project_UsesOnlyNamespacesBelowIt(string project)
    {
        HashSet<string> reachable = [project];
        var queue = new Queue<string>(reachable);
        while (queue.TryDequeue(out string? next))
        {
            foreach (string below in s_allowed[next].Where(reachable.Add))
            {
                queue.Enqueue(below);
            }
        }

        // The command names no backend and no tensor internals: it goes through the facade, Models and what they hand out.
        foreach (string path in Repository.Files($"src/{project}", "*.cs"))
        {
            // A project may divide its namespace (MoeSharp.Profiling belongs to MoeSharp).
            foreach (Match match in UsingLine().Matches(File.ReadAllText(path)))
            {
                string name = match.Groups[1].Value;
                string owner = s_allowed.Keys.Where(key => name == key || name.StartsWith(key + ".", StringComparison.Ordinal)).MaxBy(key => key.Length) ?? name;
                Assert.True(reachable.Contains(owner), $"{path} uses {name}.");
            }
        }
    }

    [Theory]
    [InlineData(@"\bConsole\.", "MoeSharp.Cli", "writes to the console")]
    [InlineData(@"\b(LibraryImport|DllImport)\b", "MoeSharp.Cuda", "calls native code", "MoeSharp.Cpu/Native/")]
    [InlineData(@"\busing System\.Net\b|\bHttpClient\b", "", "reaches for the network")]
    public void Habit_StaysInItsProject(string pattern, string home, string what, string exception = "")
    {
        var regex = new Regex(pattern);
        foreach (string path in Repository.Files("src", "*.cs"))
        {
            string project = Path.GetRelativePath(Repository.PathOf("src"), path).Split(Path.DirectorySeparatorChar)[0];
            if (project != home && !(exception.Length > 0 && path.Contains(exception.Replace('/', Path.DirectorySeparatorChar), StringComparison.Ordinal)))
            {
                Assert.False(regex.IsMatch(File.ReadAllText(path)), $"{path} {what}; only {(home.Length > 0 ? home : "nobody")} may.");
            }
        }
    }

    [Fact]
    public void Json_IsHandledByModelsExperimentsAndTheCommand()
    {
        foreach (string path in Repository.Files("src", "*.cs").Where(path => File.ReadAllText(path).Contains("System.Text.Json", StringComparison.Ordinal)))
        {
            Assert.True(
                s_jsonProjects.Any(project => path.Contains(project, StringComparison.Ordinal)),
                $"{path} handles JSON; only Models, Experiments and Cli may.");
        }
    }

    [Fact]
    public void TopLevel_ShowsExactlyTheTree()
    {
        string[] allowed = ["kernels", "src", "tests", "bench", "Engine.sln", "build.ps1", "README.md", "LICENSE", "runs"];
        IEnumerable<string> extra = Directory.EnumerateFileSystemEntries(Repository.Root)
            .Select(path => Path.GetFileName(path)).Where(name => name[0] != '.').Except(allowed);
        Assert.Empty(extra);
    }

    [Fact]
    public void BuildScript_HasOnlyLinesThatCiRuns()
    {
        string ci = Repository.Read(".ci", "run");
        MatchCollection lines = DotnetCommand().Matches(Repository.Read("build.ps1"));
        Assert.NotEmpty(lines);
        foreach (Match line in lines)
        {
            Assert.Contains(line.Value.Trim(), ci, StringComparison.Ordinal);
        }
    }

    [GeneratedRegex(@"^(?:global )?using (?:static )?(MoeSharp(?:\.\w+)?)", RegexOptions.Multiline)]
    private static partial Regex UsingLine();

    [GeneratedRegex(@"(?<=\{ )dotnet [^}\r\n]+")]
    private static partial Regex DotnetCommand();
}
