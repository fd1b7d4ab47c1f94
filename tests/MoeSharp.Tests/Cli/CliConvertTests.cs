using System.Text.Json;
using Xunit;

namespace MoeSharp.Tests;

/// <summary>From a dense model to experts, and to fewer of them.</summary>
public sealed class CliConvertTests : IDisposable
{
    private readonly CliFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task DenseModel_IsSplitTrainedOnAndRunAtALowerThreshold()
    {
        await RunAsync("train", "--preset", "tiny", "--steps", "6", "--dense", "32", "--data", _folder.Text(), "--out", _folder["dense"]);
        string converted = await RunAsync("convert", "--model", _folder["dense"], "--experts", "8", "--out", _folder["split"]);
        Assert.Contains($"moe train --init {_folder["split"]}", converted, StringComparison.Ordinal);

        // Sums of 32 terms of order 1 in another order, 6e-8 each, two layers; bits are 1.4 times that.
        Assert.Equal(await BitsAsync("dense"), await BitsAsync("split"), 1e-5);
        string trained = await RunAsync("train", "--init", _folder["split"], "--steps", "4", "--out", _folder["xmoe"]);
        Assert.Contains("at threshold 1", trained, StringComparison.Ordinal);
        using JsonDocument all = await EvalAsync("xmoe"), fewer = await EvalAsync("xmoe", "--threshold", "0.5");
        Assert.Equal((1, 8), (all.RootElement.GetProperty("threshold").GetDouble(), all.RootElement.GetProperty("real_experts_per_token").GetDouble()));
        Assert.Equal(0.5, fewer.RootElement.GetProperty("threshold").GetDouble());
        Assert.InRange(fewer.RootElement.GetProperty("real_experts_per_token").GetDouble(), 1, 5);
        string[] generate = ["generate", "--model", _folder["xmoe"], "--max-tokens", "200", "--temperature", "1", "--seed", "1"];
        Assert.NotEqual(await RunAsync(generate), await RunAsync([.. generate, "--threshold", "0.2"]));
    }

    [Fact]
    public async Task Convert_WhatCannotBeSplit_IsOneSentenceAndLeavesNothing()
    {
        await RunAsync("train", "--preset", "tiny", "--steps", "1", "--dense", "32", "--data", _folder.Text(), "--out", _folder["dense"]);
        await FailsAsync(1, "A width of 32 does not split into 5 experts of equal width; choose one of 2, 4, 8, 16, 32.", "convert", "--model", _folder["dense"], "--experts", "5", "--out", _folder["split"]);
        await FailsAsync(2, "--experts is a whole number from 2", "convert", "--model", _folder["dense"], "--experts", "1");
        await FailsAsync(1, "exists and is not empty", "convert", "--model", _folder["dense"], "--experts", "4", "--out", _folder["dense"]);
        Assert.False(Directory.Exists(_folder["split"]));
        await RunAsync("convert", "--model", _folder["dense"], "--experts", "4");
        string split = _folder["dense-4-experts"];
        await FailsAsync(1, "Only a dense model can be split; this one has 4 experts", "convert", "--model", split, "--experts", "2", "--out", _folder["again"]);
        await FailsAsync(1, $"moe train --init {split}", "train", "--resume", split);
        await FailsAsync(2, "leave out --layers, --experts, or --init", "train", "--init", split, "--layers", "3", "--experts", "2");
        await FailsAsync(1, "A threshold of 0.5 needs a model with a threshold router; this one is dense.", "eval", "--model", _folder["dense"], "--threshold", "0.5");
        await FailsAsync(2, "--threshold is a number above 0 and at most 1, got '0'", "generate", "--model", split, "--threshold", "0");
    }

    [Fact]
    public async Task VqModel_WithoutItsRouter_GoesOnWithOneExpertPerToken()
    {
        await RunAsync("train", "--preset", "tiny", "--steps", "4", "--router", "vq", "--data", _folder.Text(), "--out", _folder["vq"]);
        await RunAsync("convert", "--model", _folder["vq"], "--drop-router", "--out", _folder["codes"]);
        Assert.Contains("no router beside it", await RunAsync("inspect", _folder["codes"]), StringComparison.Ordinal);
        Assert.NotEqual(await BitsAsync("vq"), await BitsAsync("codes"));
        await RunAsync("train", "--init", _folder["codes"], "--steps", "3", "--out", _folder["on"]);
        using JsonDocument json = await EvalAsync("on");
        Assert.Equal(1, json.RootElement.GetProperty("real_experts_per_token").GetDouble());

        await FailsAsync(1, "there is nothing to remove", "convert", "--model", _folder["codes"], "--drop-router");
        await FailsAsync(2, "convert does one thing", "convert", "--model", _folder["vq"]);
        await FailsAsync(2, "leave it out with --drop-router", "convert", "--model", _folder["vq"], "--drop-router", "--partition", "contiguous");
        await RunAsync("train", "--preset", "tiny", "--steps", "1", "--data", _folder.Text(), "--out", _folder["null"]);
        await FailsAsync(1, "Only a vq model can do without its router; this one has the router null and no codebook.", "convert", "--model", _folder["null"], "--drop-router");
    }

    private async Task<double> BitsAsync(string run)
    {
        using JsonDocument json = await EvalAsync(run);
        return json.RootElement.GetProperty("bits_per_byte").GetDouble();
    }

    private async Task<JsonDocument> EvalAsync(string run, params string[] more) =>
        JsonDocument.Parse(await RunAsync(["eval", "--model", _folder[run], "--format", "json", .. more]));

    private static async Task<string> RunAsync(params string[] line)
    {
        CliResult result = await CliRunner.RunAsync(line);
        Assert.True(result.Code == 0, result.Error);
        return result.Output;
    }

    private static async Task FailsAsync(int code, string message, params string[] line)
    {
        CliResult result = await CliRunner.RunAsync(line);
        Assert.Contains(message, result.Error, StringComparison.Ordinal);
        Assert.Equal(code, result.Code);
    }
}
