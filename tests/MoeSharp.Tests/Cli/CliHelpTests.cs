using Xunit;

namespace MoeSharp.Tests;

public sealed class CliHelpTests
{
    public static TheoryData<string> Commands => ["train", "generate", "eval", "inspect", "info", "experiment", "report", "completion"];

    [Theory]
    [MemberData(nameof(Commands))]
    public async Task Help_OfEveryCommand_HasExamplesThatNameTheCommand(string command)
    {
        CliResult result = await CliRunner.RunAsync(command, "--help");
        Assert.Equal(0, result.Code);
        Assert.Empty(result.Error);
        string examples = result.Output[result.Output.IndexOf("Examples:", StringComparison.Ordinal)..];
        Assert.Contains($"moe {command}", examples, StringComparison.Ordinal);
        Assert.Contains("--format", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Help_OfTheRoot_ListsAllCommands()
    {
        CliResult result = await CliRunner.RunAsync("--help");
        Assert.Equal(0, result.Code);
        Assert.All(Commands, row => Assert.Contains($"  {row.Data}", result.Output, StringComparison.Ordinal));
        Assert.Contains("Examples:", result.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("bash", "complete -o default -F _moe_complete moe")]
    [InlineData("zsh", "compdef _moe_complete moe")]
    [InlineData("pwsh", "Register-ArgumentCompleter")]
    [InlineData("fish", "complete -c moe")]
    public async Task Completion_OfEveryShell_AsksTheSuggestDirective(string shell, string registration)
    {
        CliResult result = await CliRunner.RunAsync("completion", shell);
        Assert.Equal(0, result.Code);
        Assert.Contains("[suggest:", result.Output, StringComparison.Ordinal);
        Assert.Contains(registration, result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Suggest_PresetValue_OffersThePresets()
    {
        CliResult result = await CliRunner.RunAsync("[suggest:19]", "moe train --preset ");
        Assert.Equal(0, result.Code);
        Assert.Equal(["medium", "small", "tiny"], result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
    }

    [Fact]
    public async Task Completion_BashScript_CompletesInARealShell()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && File.Exists("/bin/bash"), "needs bash");
        string moe = Path.Combine(AppContext.BaseDirectory, "moe.dll");
        string script = $$"""
            moe() { dotnet "{{moe}}" "$@"; }
            eval "$(moe completion bash)"
            COMP_LINE="moe ins"; COMP_POINT=7; COMP_WORDS=(moe ins); COMP_CWORD=1
            _moe_complete
            echo "${COMPREPLY[*]}"
            """;
        using var process = System.Diagnostics.Process.Start(
            new System.Diagnostics.ProcessStartInfo("/bin/bash", ["-c", script]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        CliResult result = await CliRunner.FinishAsync(process);
        Assert.Equal("inspect", result.Output.Trim());
    }
}
