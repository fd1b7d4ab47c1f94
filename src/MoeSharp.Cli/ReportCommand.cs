using System.CommandLine;
using MoeSharp.Models;

namespace MoeSharp.Cli;

/// <summary><c>moe report</c>: rewrites the report of a run, also while it trains.</summary>
internal static class ReportCommand
{
    private const string Name = "report";

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandHost host)
    {
        Argument<string> run = new("RUN") { Description = "Run folder." };
        var command = new CliCommand(
            Name,
            "Rewrite report.html of a run from its metrics; works while the run is training.",
            "moe report runs/docs",
            "moe report runs/docs --format json")
        {
            run,
        };
        command.SetAction(host.Action((parse, context) =>
        {
            string folder = parse.GetValue(run)!;
            ReportData data = ReportSource.Read(folder);
            string path = RunFolder.ReportPath(folder);
            HtmlReport.Write(path, data);
            if (context.Json)
            {
                JsonReport.Write(context.Output, Name, json =>
                {
                    json.WriteString("run", folder);
                    json.WriteString("report", path);
                    json.WriteNumber("bytes", new FileInfo(path).Length);
                    json.WriteNumber("log_lines", data.Steps.Count);
                    json.WriteNumber("evaluations", data.Evaluations.Count);
                    json.Yardsticks(data.Yardsticks);
                });
            }
            else
            {
                context.Output.WriteLine(path);
            }

            return 0;
        }));
        return command;
    }
}
