using System.CommandLine;
using System.Globalization;
using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Cli;

/// <summary><c>moe train</c>: trains a byte-level transformer on text and writes a run folder.</summary>
internal static class TrainCommand
{
    private const string Name = "train";

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandHost host)
    {
        Option<string[]> data = new("--data")
        {
            Description = "Text files, folders or globs; may be repeated. Binary files are skipped.",
            HelpName = "PATH",
        };
        Option<string> output = Options.Text("--out", "Run folder to make [default: runs/<UTC time>].", "FOLDER");
        Option<string> initial = Options.Text(
            "--init", "Begin a new run with the model in this folder, and with the settings and data of its run where the command names none.", "RUN");
        Option<string> resume = Options.Text("--resume", "Go on with the run in this folder from its last checkpoint.", "RUN");
        var device = new DeviceOptionSet();
        var settings = new TrainOptionSet();
        var command = new CliCommand(
            Name,
            "Train a byte-level MoE transformer with null experts on text.\nCtrl-C finishes the step, saves and prints how to go on.",
            "moe train --data src",
            "moe train --data docs --data 'src/**/*.cs' --preset medium --out runs/docs",
            "moe train --data book.txt --experts 16 --top-k 8 --rho 0.25 --steps 2000",
            "moe train --data src --dense 512",
            "moe train --init runs/split --steps 500",
            "moe train --resume runs/docs")
        {
            data, output, initial, resume,
        };
        settings.AddTo(command);
        device.AddTo(command);
        command.SetAction(host.Action((parse, context) =>
        {
            string[] paths = parse.GetValue(data) ?? [];
            string? folder = parse.GetValue(resume);
            TrainOptions? options = folder is null
                ? NewRun(parse, settings, parse.GetValue(output), paths, parse.GetValue(initial))
                : Resumed(parse, settings, parse.GetValue(output), parse.GetValue(initial));
            DType floatType = (options ?? RunFolder.LoadOptions(folder!)).FloatType;
            using Engine engine = device.Create(parse, context, floatType);
            using Trainer trainer = options is null
                ? Trainer.Resume(engine.Backend, folder!, paths.Length == 0 ? null : paths)
                : Trainer.Start(engine.Backend, options with { Device = engine.Backend.Device.ToString() });
            return Run(context, trainer, engine.Report);
        }));
        return command;
    }

    /// <summary>A command line of this command to copy.</summary>
    public static string Line(string option, string folder) => $"moe train {option} {Quote(folder)}";

    private static TrainOptions NewRun(ParseResult parse, TrainOptionSet settings, string? folder, string[] paths, string? initial)
    {
        TrainOptions? start = initial is null ? null : Initial(initial);
        IReadOnlyList<string> data = paths.Length == 0 && start is not null ? start.Data : paths;
        if (data.Count == 0)
        {
            throw new UsageException("train needs text: give --data PATH (files, folders or globs), or --resume RUN.");
        }

        return settings.Build(parse, folder ?? FreshFolder(), data, start);
    }

    /// <summary>Settings to begin with: those of the run behind a model, else the default preset's, with the shape of the model.</summary>
    private static TrainOptions Initial(string folder)
    {
        ModelConfig model = RunFolder.LoadConfig(folder);
        TrainOptions settings = File.Exists(RunFolder.TrainPath(folder)) ? RunFolder.LoadOptions(folder) : Presets.Get(Presets.Default);
        return settings with { Model = model, InitialModel = folder, ThresholdSteps = 0 };
    }

    private static TrainOptions? Resumed(ParseResult parse, TrainOptionSet settings, string? folder, string? initial)
    {
        settings.RefuseAll(parse);
        return folder is null && initial is null ? null
            : throw new UsageException($"--resume goes on in the folder of the run; leave out {(folder is null ? "--init" : "--out")}.");
    }

    private static string FreshFolder()
    {
        string name = Path.Combine("runs", DateTime.UtcNow.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture));
        string folder = name;
        for (int i = 2; Directory.Exists(folder); i++)
        {
            folder = name + "-" + i.ToString(CultureInfo.InvariantCulture);
        }

        return folder;
    }

    private static int Run(CommandContext context, Trainer trainer, BackendReport backend)
    {
        TrainOptions options = trainer.Options;
        CorpusResult corpus = trainer.Corpus;
        context.Note(ReportSource.Summary(options.Model));
        context.Note(
            $"Text: {TextReport.Bytes(corpus.Train.Length)} to train, {TextReport.Bytes(corpus.Validation.Length)} to validate, from {TextReport.Count(corpus.Files.Count)} files"
            + (corpus.Skipped.Count > 0 ? $" ({corpus.Skipped.Count} skipped as binary or empty)." : "."));
        context.Note($"Run: {options.RunFolder}, on {backend.Chosen} ({backend.Reason})." + (trainer.Step > 0 ? $" Going on after step {trainer.Step}." : string.Empty));
        if (!options.Model.IsCausal)
        {
            context.Note($"The router {options.Model.RouterName} is not causal: bytes that follow decide about those before them, so bits per byte are no measure of prediction, and this model cannot generate.");
        }

        TrainResult result;
        using (var view = TrainProgressView.Create(context))
        {
            result = trainer.Run(view, context.Stop);
        }

        RunMetrics metrics = RunMetrics.Read(RunFolder.MetricsPath(options.RunFolder));
        ReportData report = ReportSource.Build(options, metrics);
        HtmlReport.Write(RunFolder.ReportPath(options.RunFolder), report);
        if (context.Json)
        {
            WriteJson(context, trainer, result, report, metrics, backend);
        }
        else if (result.Interrupted)
        {
            context.Output.WriteLine($"Stopped after step {result.Steps} of {options.Steps}; everything is saved. Go on with:");
            context.Output.WriteLine("  " + ResumeCommand(options.RunFolder));
        }
        else
        {
            WriteText(context, trainer, result, report, metrics);
        }

        return 0;
    }

    private static void WriteText(CommandContext context, Trainer trainer, TrainResult result, ReportData report, RunMetrics metrics)
    {
        TextWriter output = context.Output;
        int model = report.Yardsticks.ToList().FindIndex(row => row.IsModel);
        bool color = context.Terminal.OutputIsTerminal && context.Terminal.Color;
        output.WriteLine();
        TextReport.Table(
            output,
            ["on the same validation text", ">bits per byte"],
            [.. report.Yardsticks.Select(row => new[] { row.Name, TextReport.Fixed(row.BitsPerByte, 3) })],
            model,
            color);
        output.WriteLine();
        ModelConfig config = trainer.Options.Model;
        double real = metrics.Evaluations.Count > 0 ? metrics.Evaluations[^1].Result.RealExpertsPerToken : double.NaN;
        (string, string)[] routing = config.IsDense ? [] :
        [
            ReportSource.NullSlots(config, result.MeasuredNullShare),
            ("real experts per token", $"{TextReport.Fixed(real, 2)} of {config.TopK} slots"),
        ];
        TextReport.Pairs(
            output,
            [
                .. routing,
                ("training loss", TextReport.Sparkline(metrics.Train.Select(line => line.TrainBitsPerByte), 40)),
                ("speed", $"{TextReport.Count(result.TokensPerSecond)} tokens/s"),
            ]);
        output.WriteLine();
        output.WriteLine("Sample:");
        output.WriteLine(string.Join('\n', TextReport.Printable(result.Sample).Split('\n').Select(line => "  | " + line)));
        output.WriteLine();
        TextReport.Pairs(
            output,
            ("run", result.RunFolder),
            ("report", RunFolder.ReportPath(result.RunFolder)),
            ("next", config.IsCausal ? $"moe generate --model {Quote(result.RunFolder)}" : $"moe inspect {Quote(result.RunFolder)}"));
    }

    private static void WriteJson(
        CommandContext context, Trainer trainer, TrainResult result, ReportData report, RunMetrics metrics, BackendReport backend) =>
        JsonReport.Write(context.Output, Name, json =>
        {
            TrainOptions options = trainer.Options;
            json.WriteString("run", result.RunFolder);
            json.WriteString("report", RunFolder.ReportPath(result.RunFolder));
            json.WriteBoolean("interrupted", result.Interrupted);
            json.WriteString("resume_command", result.Interrupted ? ResumeCommand(result.RunFolder) : null);
            json.WriteNumber("steps", result.Steps);
            json.WriteNumber("total_steps", options.Steps);
            json.Number("validation_bits_per_byte", result.ValidationBitsPerByte);
            json.Number("null_share", result.MeasuredNullShare);
            json.Number("null_share_configured", ReportSource.NullTarget(options.Model) ?? 0);
            json.Number("real_experts_per_token", result.Interrupted ? double.NaN : metrics.Evaluations[^1].Result.RealExpertsPerToken);
            json.Number("tokens_per_second", result.TokensPerSecond);
            json.Yardsticks(report.Yardsticks);
            json.WriteString("sample", result.Interrupted ? null : result.Sample);
            json.WriteString("preset", options.Preset);
            json.WriteString("seed", options.Seed.ToString(CultureInfo.InvariantCulture));
            json.WriteNumber("parameters", options.Model.ParameterCount);
            json.WriteNumber("active_parameters", options.Model.ActiveParameterCount);
            json.Routing(options.Model);
            json.WriteStartObject("data");
            json.WriteNumber("train_bytes", trainer.Corpus.Train.Length);
            json.WriteNumber("validation_bytes", trainer.Corpus.Validation.Length);
            json.WriteNumber("files", trainer.Corpus.Files.Count);
            json.WriteNumber("skipped_files", trainer.Corpus.Skipped.Count);
            json.WriteString("sha256", trainer.Corpus.Sha256);
            json.WriteEndObject();
            json.Backend(backend);
        });

    private static string ResumeCommand(string folder) => Line("--resume", folder);

    private static string Quote(string path) =>
        path.All(c => char.IsAsciiLetterOrDigit(c) || "-_./\\:".Contains(c, StringComparison.Ordinal)) ? path : $"\"{path}\"";
}
