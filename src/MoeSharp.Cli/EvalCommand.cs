using System.CommandLine;
using System.Text;
using MoeSharp.Models;

namespace MoeSharp.Cli;

/// <summary><c>moe eval</c>: measures bits per byte and the use of experts.</summary>
internal static class EvalCommand
{
    private const string Name = "eval";
    private const int Windows = 8;

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandHost host)
    {
        Option<string> model = Options.Text("--model", "Run folder.", "RUN", required: true);
        Option<string[]> data = new("--data")
        {
            Description = "Text files, folders or globs to measure on, all of it; may be repeated. Without it: the validation part of the run's own text.",
            HelpName = "PATH",
        };
        Option<double?> threshold = Options.Threshold();
        var device = new DeviceOptionSet();
        var command = new CliCommand(
            Name,
            "Measure a model on text: bits per byte, and which tokens use null experts.",
            "moe eval --model runs/docs",
            "moe eval --model runs/docs --data other.txt",
            "moe eval --model runs/docs --threshold 0.7",
            "moe eval --model runs/docs --data notes --format json")
        {
            model, data, threshold,
        };
        device.AddTo(command, withType: true);
        command.SetAction(host.Action((parse, context) =>
        {
            string folder = parse.GetValue(model)!;
            string[] paths = parse.GetValue(data) ?? [];
            using Engine engine = device.Create(parse, context);
            using Transformer transformer = RunFolder.Load(folder, engine.Backend, parse.GetValue(threshold));
            byte[] text = paths.Length == 0 ? OwnValidation(folder) : WholeText(paths);
            EvaluationResult result = Evaluator.Run(transformer, text, Windows, cancellationToken: context.Stop);
            if (context.Json)
            {
                WriteJson(context, folder, paths, transformer.Config, result, engine.Report);
            }
            else
            {
                WriteText(context, transformer.Config, result);
            }

            return 0;
        }));
        return command;
    }

    private static byte[] OwnValidation(string folder)
    {
        TrainOptions options = RunFolder.LoadOptions(folder);
        return TextCorpus.Load(options.Data, options.Model.ContextLength + 1L, options.ValidationBytes).Validation;
    }

    /// <summary>All text in reading order. The corpus decides which files are text; its split is for training and not wanted here.</summary>
    private static byte[] WholeText(string[] paths)
    {
        using var text = new MemoryStream();
        foreach (string file in TextCorpus.Load(paths, minimumBytes: 1).Files)
        {
            ReadOnlySpan<byte> bytes = File.ReadAllBytes(file);
            text.Write(bytes.StartsWith(Encoding.UTF8.Preamble) ? bytes[Encoding.UTF8.Preamble.Length..] : bytes);
        }

        return text.ToArray();
    }

    private static void WriteText(CommandContext context, ModelConfig config, EvaluationResult result)
    {
        (string, string)[] routing = config.IsDense ? [] :
        [
            ReportSource.NullSlots(config, result.NullShare),
            ("real experts per token", $"{TextReport.Fixed(result.RealExpertsPerToken, 2)} of {config.TopK} slots"),
            ("expert width per token", $"{TextReport.Fixed(result.RealExpertsPerToken * config.ExpertWidth, 0)} of {config.Experts * config.ExpertWidth}"),
        ];
        TextReport.Pairs(
            context.Output,
            [("bits per byte", TextReport.Fixed(result.BitsPerByte, 4)), ("bytes predicted", TextReport.Count(result.Bytes)), .. routing]);
        if (config.IsDense)
        {
            return;
        }

        context.Output.WriteLine();
        TextReport.Table(
            context.Output,
            ["kind of byte", ">null slots"],
            [.. Enum.GetValues<TokenClass>().Select(c => new[] { JsonReport.Snake(c.ToString()).Replace('_', ' '), SvgChart.Percent(result.NullShareByClass[(int)c], 1) })]);
        context.Output.WriteLine();
        TextReport.Table(
            context.Output,
            [">layer", ">null slots"],
            [.. result.NullShareByLayer.Select((share, layer) => new[] { TextReport.Count(layer), SvgChart.Percent(share, 1) })]);
    }

    private static void WriteJson(CommandContext context, string folder, string[] paths, ModelConfig config, EvaluationResult result, BackendReport backend) =>
        JsonReport.Write(context.Output, Name, json =>
        {
            json.WriteString("model", folder);
            json.Texts("data", paths);
            json.WriteString("part", paths.Length == 0 ? "validation" : "all");
            json.Number("threshold", ReportSource.Threshold(config) ?? double.NaN);
            json.Number("bits_per_byte", result.BitsPerByte);
            json.WriteNumber("bytes", result.Bytes);
            json.Number("null_share", result.NullShare);
            json.Number("real_experts_per_token", result.RealExpertsPerToken);
            json.WriteStartObject("null_share_by_class");
            foreach (TokenClass tokenClass in Enum.GetValues<TokenClass>())
            {
                json.Number(JsonReport.Snake(tokenClass.ToString()), result.NullShareByClass[(int)tokenClass]);
            }

            json.WriteEndObject();
            json.Numbers("null_share_by_layer", result.NullShareByLayer);
            json.Backend(backend);
        });
}
