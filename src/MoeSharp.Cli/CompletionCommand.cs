using System.CommandLine;

namespace MoeSharp.Cli;

/// <summary><c>moe completion</c>: prints a script that lets a shell complete commands and options.</summary>
/// <remarks>The scripts ask the command itself through its <c>[suggest]</c> directive, so they never fall behind.</remarks>
internal static class CompletionCommand
{
    private const string Name = "completion";

    private const string Bash = """
        # moe completion for bash: eval "$(moe completion bash)"
        _moe_complete()
        {
            local IFS=$'\n'
            COMPREPLY=($(compgen -W "$(moe "[suggest:${COMP_POINT}]" "${COMP_LINE}" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
        }
        complete -o default -F _moe_complete moe
        """;

    private const string Zsh = """
        # moe completion for zsh: eval "$(moe completion zsh)"
        _moe_complete()
        {
            local -a found
            found=("${(@f)$(moe "[suggest:${CURSOR}]" "${BUFFER}" 2>/dev/null)}")
            compadd -- $found
            _files
        }
        compdef _moe_complete moe
        """;

    private const string Pwsh = """
        # moe completion for PowerShell: moe completion pwsh | Out-String | Invoke-Expression
        Register-ArgumentCompleter -Native -CommandName moe -ScriptBlock {
            param($wordToComplete, $commandAst, $cursorPosition)
            moe "[suggest:$cursorPosition]" "$commandAst" 2>$null | Where-Object { $_ -like "$wordToComplete*" } |
                ForEach-Object { [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_) }
        }
        """;

    private const string Fish = """
        # moe completion for fish: moe completion fish | source
        function __moe_complete
            set -l line (commandline -cp)
            moe "[suggest:"(string length -- "$line")"]" "$line" 2>/dev/null
        end
        complete -c moe -a '(__moe_complete)'
        """;

    private static readonly string[] s_shells = ["bash", "zsh", "pwsh", "fish"];

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandHost host)
    {
        Argument<string> shell = new("SHELL") { Description = "bash, zsh, pwsh or fish." };
        shell.CompletionSources.Add(s_shells);
        shell.Validators.Add(result =>
        {
            string text = result.Tokens.Count == 1 ? result.Tokens[0].Value : string.Empty;
            if (!s_shells.Contains(text))
            {
                result.AddError($"SHELL is bash, zsh, pwsh or fish, got '{text}'.");
            }
        });
        var command = new CliCommand(
            Name,
            "Print a completion script for a shell.",
            "eval \"$(moe completion bash)\"",
            "moe completion zsh > ~/.zfunc/_moe",
            "moe completion fish | source")
        {
            shell,
        };
        command.SetAction(host.Action((parse, context) =>
        {
            string name = parse.GetValue(shell)!;
            string script = name switch { "bash" => Bash, "zsh" => Zsh, "pwsh" => Pwsh, _ => Fish };
            if (context.Json)
            {
                JsonReport.Write(context.Output, Name, json =>
                {
                    json.WriteString("shell", name);
                    json.WriteString("script", script);
                });
            }
            else
            {
                context.Output.WriteLine(script);
            }

            return 0;
        }));
        return command;
    }
}
