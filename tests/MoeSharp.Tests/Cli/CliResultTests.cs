using System.Text.Json;
using System.Text.RegularExpressions;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>Results of every command on a finished run: text and JSON.</summary>
[Collection(TrainedRunGroup.Name)]
public sealed partial class CliResultTests(TrainedRun run)
{
    [Fact]
    public void Train_Json_HasStableKeysInOrder()
    {
        using JsonDocument json = JsonDocument.Parse(run.Json);
        Assert.Equal(
            [
                "command", "run", "report", "interrupted", "resume_command", "steps", "total_steps", "validation_bits_per_byte", "null_share",
                "null_share_configured", "real_experts_per_token", "tokens_per_second", "yardsticks", "sample", "preset", "seed", "parameters",
                "active_parameters", "routing", "data", "backend",
            ],
            Keys(json.RootElement));
        Assert.Equal(12, json.RootElement.GetProperty("steps").GetInt64());
        Assert.False(json.RootElement.GetProperty("interrupted").GetBoolean());
        Assert.Contains("step 12/12", run.Progress, StringComparison.Ordinal);
    }

    [Fact]
    public void Train_Yardsticks_AreSortedAndHoldTheModelOnce()
    {
        using JsonDocument json = JsonDocument.Parse(run.Json);
        List<JsonElement> rows = [.. json.RootElement.GetProperty("yardsticks").EnumerateArray()];
        double[] bits = [.. rows.Select(row => row.GetProperty("bits_per_byte").GetDouble())];
        Assert.Equal(bits.Order(), bits);
        JsonElement model = Assert.Single(rows, row => row.GetProperty("is_model").GetBoolean());
        Assert.Equal(json.RootElement.GetProperty("validation_bits_per_byte").GetDouble(), model.GetProperty("bits_per_byte").GetDouble());
        string[] names = [.. rows.Select(row => row.GetProperty("name").GetString()!)];
        Assert.Equal(8, names.Length);
        Assert.Contains("gzip", names);
        Assert.Contains("brotli", names);
        Assert.Contains("order-4 n-gram", names);
    }

    [Fact]
    public void Train_Report_LiesInTheRunFolder()
    {
        using JsonDocument json = JsonDocument.Parse(run.Json);
        string report = json.RootElement.GetProperty("report").GetString()!;
        Assert.Equal(run.Folder, Path.GetDirectoryName(report));
        Assert.Contains("<svg", File.ReadAllText(report), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Eval_WithoutData_RepeatsTheNumberOfTheRun()
    {
        using JsonDocument trained = JsonDocument.Parse(run.Json);
        using JsonDocument json = await JsonAsync("eval", "--model", run.Folder);
        Assert.Equal(
            ["command", "model", "data", "part", "threshold", "bits_per_byte", "bytes", "null_share", "real_experts_per_token", "null_share_by_class", "null_share_by_layer", "backend"],
            Keys(json.RootElement));
        Assert.Equal("validation", json.RootElement.GetProperty("part").GetString());

        // Windows are independent of each other, so the batch they run in changes nothing but the rounding inside of it.
        double expected = trained.RootElement.GetProperty("validation_bits_per_byte").GetDouble();
        Assert.Equal(expected, json.RootElement.GetProperty("bits_per_byte").GetDouble(), 1e-4);
    }

    [Fact]
    public async Task Eval_WithData_MeasuresAllOfIt()
    {
        using JsonDocument json = await JsonAsync("eval", "--model", run.Folder, "--data", run.Data);
        Assert.Equal("all", json.RootElement.GetProperty("part").GetString());
        Assert.Equal(new FileInfo(run.Data).Length - 1, json.RootElement.GetProperty("bytes").GetInt64());
        Assert.Equal(
            ["letter", "digit", "punctuation", "white_space", "indentation", "line_end"], Keys(json.RootElement.GetProperty("null_share_by_class")));
        string text = (await CliRunner.RunAsync("eval", "--model", run.Folder, "--data", run.Data)).Output;
        Assert.Contains("indentation", text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Generate_SameSeed_SameTextInBothFormats()
    {
        string[] line = ["generate", "--model", run.Folder, "--prompt", "int é", "--max-tokens", "40", "--seed", "5"];
        CliResult text = await CliRunner.RunAsync(line);
        using JsonDocument json = await JsonAsync(line);
        Assert.Equal(["command", "model", "prompt", "text", "temperature", "top_p", "seed", "max_tokens", "threshold", "backend"], Keys(json.RootElement));
        Assert.Equal("int é" + json.RootElement.GetProperty("text").GetString() + Environment.NewLine, text.Output);
        Assert.Empty(text.Error);
    }

    [Fact]
    public async Task Inspect_Run_ListsEveryTensorWithItsBytes()
    {
        using JsonDocument json = await JsonAsync("inspect", run.Folder);
        Assert.Equal(["command", "path", "files", "parameters", "routing", "note"], Keys(json.RootElement));
        Assert.Equal(2, json.RootElement.GetProperty("files").GetArrayLength());
        JsonElement model = json.RootElement.GetProperty("files").EnumerateArray().Single(
            file => file.GetProperty("file").GetString()!.EndsWith("model.safetensors", StringComparison.Ordinal));
        long sum = 0;
        foreach (JsonElement tensor in model.GetProperty("tensors").EnumerateArray())
        {
            Assert.Equal(["name", "dtype", "shape", "bytes"], Keys(tensor));
            Assert.Equal("F32", tensor.GetProperty("dtype").GetString());
            long elements = tensor.GetProperty("shape").EnumerateArray().Aggregate(1L, (product, d) => product * d.GetInt64());
            Assert.Equal(4 * elements, tensor.GetProperty("bytes").GetInt64());
            sum += 4 * elements;
        }

        Assert.Equal(sum, model.GetProperty("bytes").GetInt64());
        Assert.Equal(4, json.RootElement.GetProperty("routing").GetProperty("experts").GetInt32());
        CliResult text = await CliRunner.RunAsync("inspect", Path.Combine(run.Folder, "model.safetensors"));
        Assert.Contains("model.layers.1.mlp.experts.down_proj", text.Output, StringComparison.Ordinal);
        Assert.Contains("[4, 32, 16]", text.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Info_Json_ListsProbesAndVariables()
    {
        using JsonDocument json = await JsonAsync("info");
        Assert.Equal(
            [
                "command", "version", "runtime", "system", "runtime_identifier", "processors", "vector_units", "bf16_products", "amx_missing", "memory_bytes",
                "cuda_driver", "cuda_driver_version", "nvrtc", "nvrtc_version", "kernel_cache", "kernel_cache_bytes", "kernel_folder", "cuda_devices", "cuda_problems",
                "probes", "environment", "backend",
            ],
            Keys(json.RootElement));
        Assert.NotEmpty(json.RootElement.GetProperty("probes").EnumerateArray());
        Assert.Contains("MOESHARP_NVRTC", Keys(json.RootElement.GetProperty("environment")));
        Assert.Contains("Environment variables:", (await CliRunner.RunAsync("info")).Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Report_Rewrite_GivesTheSameFile()
    {
        string path = Path.Combine(run.Folder, "report.html");
        string before = await File.ReadAllTextAsync(path, TestContext.Current.CancellationToken);
        using JsonDocument json = await JsonAsync("report", run.Folder);
        Assert.Equal(["command", "run", "report", "bytes", "log_lines", "evaluations", "yardsticks"], Keys(json.RootElement));
        Assert.Equal(before, await File.ReadAllTextAsync(path, TestContext.Current.CancellationToken));
        Assert.Empty(Directory.GetFiles(run.Folder, "*.tmp"));
        Assert.Equal(path + Environment.NewLine, (await CliRunner.RunAsync("report", run.Folder)).Output);
    }

    [Fact]
    public async Task Completion_Json_HoldsTheScript()
    {
        using JsonDocument json = await JsonAsync("completion", "bash");
        Assert.Equal(["command", "shell", "script"], Keys(json.RootElement));
    }

    [Theory]
    [InlineData("NO_COLOR", "1")]
    [InlineData("CLICOLOR_FORCE", "1")]
    public async Task Redirected_NoEscapeSequences(string variable, string value)
    {
        using var folder = new CliFolder();
        CliResult result = await CliRunner.RunChildAsync(
            new Dictionary<string, string> { [variable] = value },
            "train", "--preset", "tiny", "--steps", "3", "--data", run.Data, "--out", folder["run"]);
        Assert.Equal(0, result.Code);
        Assert.DoesNotMatch(EscapeSequence(), result.Output + result.Error);
        Assert.Contains("> this model", result.Output, StringComparison.Ordinal);
        Assert.Contains("report.html", result.Output, StringComparison.Ordinal);
        Assert.Contains("step 3/3", result.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Quiet_LeavesStandardErrorEmpty()
    {
        using var folder = new CliFolder();
        CliResult result = await CliRunner.RunAsync(
            "train", "--preset", "tiny", "--steps", "2", "--data", run.Data, "--out", folder["run"], "--quiet");
        Assert.Equal(0, result.Code);
        Assert.Empty(result.Error);
    }

    private static async Task<JsonDocument> JsonAsync(params string[] line)
    {
        CliResult result = await CliRunner.RunAsync([.. line, "--format", "json"]);
        Assert.True(result.Code == 0, result.Error);
        JsonDocument json = JsonDocument.Parse(result.Output);
        Assert.Equal(line[0], json.RootElement.GetProperty("command").GetString());
        return json;
    }

    private static string[] Keys(JsonElement element) => [.. element.EnumerateObject().Select(property => property.Name)];

    [GeneratedRegex("\u001b")]
    private static partial Regex EscapeSequence();
}
