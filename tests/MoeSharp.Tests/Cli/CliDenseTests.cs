using System.Text.Json;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>A model without experts through the whole command.</summary>
public sealed class CliDenseTests : IDisposable
{
    private readonly CliFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task DenseModel_IsTrainedEvaluatedGeneratedAndInspected()
    {
        CliResult trained = await CliRunner.RunAsync("train", "--preset", "tiny", "--steps", "4", "--dense", "40", "--data", _folder.Text(), "--out", _folder["run"]);
        Assert.True(trained.Code == 0, trained.Error);
        Assert.DoesNotContain("null slots", trained.Output, StringComparison.Ordinal);
        Assert.Contains("2 layers of width 32, dense feed-forward layers of width 40", trained.Error, StringComparison.Ordinal);
        string report = await File.ReadAllTextAsync(Path.Combine(_folder["run"], "report.html"), TestContext.Current.CancellationToken);
        Assert.DoesNotContain(">Routing<", report, StringComparison.Ordinal);
        CliResult eval = await CliRunner.RunAsync("eval", "--model", _folder["run"], "--format", "json");
        Assert.True(eval.Code == 0, eval.Error);
        using JsonDocument measured = JsonDocument.Parse(eval.Output);
        Assert.InRange(measured.RootElement.GetProperty("bits_per_byte").GetDouble(), 1, 9);
        Assert.Equal(JsonValueKind.Null, measured.RootElement.GetProperty("real_experts_per_token").ValueKind);
        CliResult text = await CliRunner.RunAsync("generate", "--model", _folder["run"], "--max-tokens", "20");
        Assert.True(text.Code == 0, text.Error);
        CliResult inspected = await CliRunner.RunAsync("inspect", _folder["run"], "--format", "json");
        using JsonDocument listed = JsonDocument.Parse(inspected.Output);
        Assert.Equal(JsonValueKind.Null, listed.RootElement.GetProperty("routing").ValueKind);
        Assert.Contains("model.layers.0.mlp.down_proj.weight", inspected.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Dense_BesideExpertOptions_IsUsageError()
    {
        CliResult result = await CliRunner.RunAsync(
            "train", "--preset", "tiny", "--data", _folder.Text(), "--out", _folder["run"], "--dense", "40", "--experts", "4", "--rho", "1");
        Assert.Equal(2, result.Code);
        Assert.Contains("--dense makes a model without experts; leave out --experts, --rho, or --dense.", result.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_folder["run"]));
    }
}
