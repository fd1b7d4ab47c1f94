using System.CommandLine;
using System.Runtime.InteropServices;
using MoeSharp.Experiments;

namespace MoeSharp.Cli;

/// <summary><c>moe experiment</c>: puts the claims of a paper to the test and writes a report.</summary>
internal static class ExperimentCommand
{
    private const string Name = "experiment";
    private const string All = "all";
    private const string ReportFile = "report.html";

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandHost host)
    {
        string[] names = [.. Catalog.All.Select(experiment => experiment.Name), All];
        Argument<string> name = new("NAME") { Description = string.Join(", ", names.SkipLast(1)) + " or all." };
        name.CompletionSources.Add(names);
        Option<int?> seeds = Options.Number("--seeds", "Seeds of the final evaluation [default: 5, quick 2]. More seeds go on with the cells that are there.", 1, 1000);
        Option<bool> quick = new("--quick") { Description = "A smoke test of about a minute per experiment; its numbers mean nothing." };
        Option<string> output = Options.Text("--out", "Folder of the results; for all, one folder per experiment in it [default: runs/experiments/NAME].", "FOLDER");
        Option<string> file = Options.Text("--config", "A JSON file with the settings that differ from the defaults.", "FILE");
        Option<bool> print = new("--print-config") { Description = "Print the complete configuration and do nothing else." };
        Option<int?> threads = Options.Number("--threads", "Cells that run at a time, one thread each; one per processor by default. Results do not depend on it.", 1, 1024);
        var command = new CliCommand(
            Name,
            "Test the claims of a paper on data that the program makes: every arm at its own best balance weight, fresh seeds, measured compute.\nCtrl-C keeps the finished cells; the same command goes on.",
            "moe experiment null-experts",
            "moe experiment null-experts --print-config > mine.json",
            "moe experiment null-experts --config mine.json --out runs/mine",
            "moe experiment all --quick")
        {
            name, seeds, quick, output, file, print, threads,
        };
        command.SetAction(host.Action((parse, context) =>
        {
            string wanted = parse.GetValue(name)!;
            if (!names.Contains(wanted))
            {
                throw new UsageException($"There is no experiment '{wanted}'; there are {string.Join(", ", names.SkipLast(1))} and all.");
            }

            if (wanted == All && (parse.GetValue(file) is not null || parse.GetValue(print)))
            {
                throw new UsageException("A configuration belongs to one experiment; name one instead of all.");
            }

            ExperimentConfig[] configs = [.. Catalog.All.Where(experiment => wanted == All || experiment.Name == wanted)
                .Select(experiment => Config(experiment, parse.GetValue(quick), parse.GetValue(file), parse.GetValue(seeds)))];
            if (parse.GetValue(print))
            {
                context.Output.Write(configs[0].ToJson());
                return 0;
            }

            var done = new List<(ExperimentConfig Config, string Folder, IReadOnlyList<StudyResults> Studies)>();
            foreach (ExperimentConfig config in configs)
            {
                string folder = Folder(parse.GetValue(output), config, wanted == All);
                done.Add((config, folder, Run(context, config, folder, parse.GetValue(threads) ?? Environment.ProcessorCount)));
            }

            Write(context, done);
            return 0;
        }));
        return command;
    }

    private static ExperimentConfig Config(Experiment experiment, bool quick, string? file, int? seeds)
    {
        ExperimentConfig config = file is null ? ExperimentConfig.Default(experiment, quick) : ExperimentConfig.Read(experiment, quick, File.ReadAllText(file), file);
        return seeds is int number ? config.WithSeeds(number) : config;
    }

    private static string Folder(string? given, ExperimentConfig config, bool isOneOfAll)
    {
        string name = config.Experiment.Name + (config.IsQuick ? "-quick" : string.Empty);
        return given is null ? Path.Combine("runs", "experiments", name) : isOneOfAll ? Path.Combine(given, config.Experiment.Name) : given;
    }

    private static IReadOnlyList<StudyResults> Run(CommandContext context, ExperimentConfig config, string path, int lanes)
    {
        using ExperimentFolder folder = ExperimentFolder.Open(path, config);
        var view = new ExperimentProgressView(context, config.Experiment.Name);
        var runner = new ExperimentRunner(folder, () => Engine.Create(new EngineOptions { Device = "cpu", Threads = 1 }).Backend, lanes, view, context.Stop);
        IReadOnlyList<StudyResults> studies;
        try
        {
            studies = runner.Run();
        }
        catch (OperationCanceledException)
        {
            context.Note($"Finished cells are kept in {path}; the same command goes on with them.");
            throw;
        }

        string machine = $"{Processor()}, {RuntimeInformation.FrameworkDescription}";
        folder.Write("results.json", ExperimentResultsJson.Render(config, studies, machine));
        foreach (Figure figure in studies.SelectMany(study => study.Figures))
        {
            folder.Write(figure.Name + ".svg", ExperimentFigures.DrawFile(figure));
        }

        folder.Write(ReportFile, ExperimentReport.Render(config, studies, machine));
        return studies;
    }

    private static void Write(CommandContext context, IReadOnlyList<(ExperimentConfig Config, string Folder, IReadOnlyList<StudyResults> Studies)> done)
    {
        if (context.Json)
        {
            JsonReport.Write(context.Output, Name, json =>
            {
                json.WriteStartArray("experiments");
                foreach ((ExperimentConfig config, string folder, IReadOnlyList<StudyResults> studies) in done)
                {
                    json.WriteStartObject();
                    json.WriteString("name", config.Experiment.Name);
                    json.WriteString("results", Path.Combine(folder, "results.json"));
                    json.WriteString("report", Path.Combine(folder, ReportFile));
                    json.WriteStartArray("studies");
                    foreach (StudyResults study in studies)
                    {
                        json.WriteStartObject();
                        json.WriteString("name", study.Study.Name);
                        ExperimentResultsJson.Claims(json, study);
                        json.WriteEndObject();
                    }

                    json.WriteEndArray();
                    json.WriteEndObject();
                }

                json.WriteEndArray();
            });
            return;
        }

        foreach ((ExperimentConfig config, string folder, IReadOnlyList<StudyResults> studies) in done)
        {
            context.Output.WriteLine();
            context.Output.WriteLine(config.Experiment.Title);
            foreach (Claim claim in studies.SelectMany(study => study.Claims))
            {
                context.Output.WriteLine($"  {ExperimentText.Of(claim.Outcome).ToUpperInvariant()}: {claim.Statement}");
                context.Output.WriteLine($"    {claim.Evidence}");
            }

            context.Output.WriteLine();
            TextReport.Pairs(context.Output, ("results", Path.Combine(folder, "results.json")), ("report", Path.Combine(folder, ReportFile)));
        }
    }

    private static string Processor()
    {
        const string Facts = "/proc/cpuinfo";
        string? model = !File.Exists(Facts) ? null : File.ReadLines(Facts).FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal));
        return model is null ? $"{RuntimeInformation.OSArchitecture} processor" : model[(model.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim();
    }
}
