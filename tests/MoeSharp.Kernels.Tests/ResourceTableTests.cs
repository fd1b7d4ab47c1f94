using System.Globalization;
using System.Text;
using MoeSharp.Cuda;
using Xunit;

namespace MoeSharp.Kernels.Tests;

/// <summary>
/// Registers of every kernel as committed text, so that a kernel that grows shows in review. <c>MOESHARP_UPDATE_SNAPSHOTS=1</c> rewrites it; it is
/// judged only by the NVRTC version that wrote it, because another compiler allocates registers differently.
/// </summary>
public sealed class ResourceTableTests(KernelBuilds builds)
{
    private static readonly string s_file = Path.Combine(RealNvrtc.Root, "bench", "results", "resources.md");

    [Fact]
    public async Task Table_IsUpToDate()
    {
        RealNvrtc.Require();
        string table = await Table();
        if (Environment.GetEnvironmentVariable("MOESHARP_UPDATE_SNAPSHOTS") == "1")
        {
            await File.WriteAllTextAsync(s_file, table, TestContext.Current.CancellationToken);
            return;
        }

        string committed = (await File.ReadAllTextAsync(s_file, TestContext.Current.CancellationToken)).ReplaceLineEndings("\n");
        Assert.SkipUnless(committed.Contains(Version, StringComparison.Ordinal), $"{s_file} was written by another compiler than {Version.Trim()}");
        string[] gone = [.. committed.Split('\n').Except(table.Split('\n'))], added = [.. table.Split('\n').Except(committed.Split('\n'))];
        Assert.True(
            gone.Length + added.Length == 0,
            $"Kernels need other resources than bench/results/resources.md says.\nCommitted:\n{string.Join('\n', gone)}\nNow:\n{string.Join('\n', added)}\nMOESHARP_UPDATE_SNAPSHOTS=1 rewrites it.");
    }

    private static string Version => $"NVRTC {KernelCompiler.Version}.\n";

    private async Task<string> Table()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# Registers per thread of every kernel\n\n");
        text.Append("No kernel spills registers or uses local memory; a test fails when one does. Shared memory is dynamic and chosen at the launch. ");
        text.Append(Version);
        text.Append(CultureInfo.InvariantCulture, $"\n| file | constants | kernel | {string.Join(" | ", KernelBuilds.Architectures)} |\n|---|---|---|{string.Concat(KernelBuilds.Architectures.Select(_ => "---|"))}\n");
        foreach (KernelKey key in KernelCatalog.All)
        {
            KernelBuild[] found = await Task.WhenAll(KernelBuilds.Architectures.Select(architecture => builds.Get(key with { Architecture = architecture })));
            foreach (string entry in found.SelectMany(build => build.Entries).Select(entry => entry.Entry).Distinct().Order(StringComparer.Ordinal))
            {
                IEnumerable<string> cells = found.Select(build => Cell(build.Entries.SingleOrDefault(candidate => candidate.Entry == entry)));
                text.Append(CultureInfo.InvariantCulture, $"| {key.File} | {key.Constants} | {entry} | {string.Join(" | ", cells)} |\n");
            }
        }

        return text.ToString();
    }

    private static string Cell(EntryResources? entry) => entry switch
    {
        null => "-",
        { SpillStores: 0, SpillLoads: 0 } => entry.Registers.ToString(CultureInfo.InvariantCulture),
        _ => string.Create(CultureInfo.InvariantCulture, $"{entry.Registers} ({entry.SpillStores}+{entry.SpillLoads} bytes spilled)"),
    };
}
