using MoeSharp.Experiments;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>The VQMoE experiment in steps that a test can afford.</summary>
public sealed class VqMoeRunTests : IDisposable
{
    private readonly CliFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Run_DropsTheRouter_AndHalvesTheExperts()
    {
        File.WriteAllText(_folder["tiny.json"], """
            { "experiment": "vqmoe", "seeds": 1, "tuning_seeds": 1, "clusters": { "steps": 3, "more_steps": 2, "tokens": 32, "balance_weights": [0.01] } }
            """);
        CliResult run = await CliRunner.RunAsync("experiment", "vqmoe", "--config", _folder["tiny.json"], "--out", _folder["run"]);
        Assert.True(run.Code == 0, run.Error);
        string file = Directory.GetFiles(_folder["run/cells/clusters"], "vq-*").Single();
        CellResult both = CellResult.FromJson(File.ReadAllText(file), file);
        Assert.Equal((2, 1, 1), (both["real_experts"], both["dropped_real_experts"], both["tuned_real_experts"]));

        // Dropping the router leaves the codes' choice as it is; so does training on, in which the codes are fixed but what they see is not.
        Assert.Equal(both["purity"], both["dropped_purity"]);
        Assert.Equal(both["flips"], both["dropped_flips"]);
        Assert.InRange(both["live"], 2, 16);
        Assert.NotEqual(both["accuracy"], both["dropped_accuracy"]);
    }
}
