using System.CommandLine;
using System.Globalization;
using MoeSharp.Models;
using MoeSharp.Profiling;

namespace MoeSharp.Cli;

/// <summary><c>moe profile</c>: times every op of a MoE layer, or of a whole training step, one line per op, beside the device's roofline.</summary>
internal static class ProfileCommand
{
    private const string Name = "profile";
    private const int DefaultTokens = 2048;
    private static readonly string[] s_distributions = [.. Enum.GetNames<RoutingDistribution>().Select(JsonReport.Snake)];

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandHost host)
    {
        Option<string> model = Options.Text("--model", "Run folder whose layer is measured.", "RUN");
        Option<string> shape = Options.Text("--shape", $"Known layer: {string.Join(", ", ProfileShape.Known.Select(s => s.Name))}.", "NAME");
        Option<int?> tokens = Options.Number("--tokens", "Tokens T; by default those of the shape, or 2048 for a model.", 1, 1 << 24);
        Option<double?> rho = Options.Number("--rho", "Share of slots that hit a real expert; by default 1, or what the model is configured for.", 0.0, 1.0, aboveLow: true);
        Option<string> routing = Options.Choice("--routing", "How real slots spread over the experts; uniform by default.", s_distributions);
        Option<int?> samples = Options.Number("--samples", "Timed runs per op, or training steps; 30 by default.", 1, 10000);
        Option<bool> train = new("--train") { Description = "Measure a whole training step, op by op: of a preset, or of the run that --model names." };
        Option<string> preset = Options.Choice("--preset", $"Preset of --train [default: {Presets.Default}].", Presets.Names);
        Option<string[]> data = new("--data") { Description = "Text of --train: files, folders or globs; made-up words by default.", HelpName = "PATH" };
        var device = new DeviceOptionSet();
        var command = new CliCommand(
            Name,
            "Time every op of a MoE layer, or of a training step: median, spread, speed and share of the roofline.",
            "moe profile --shape small",
            "moe profile --shape qwen3-30b-a3b --rho 0.5 --device cuda",
            "moe profile --model runs/docs --format json",
            "moe profile --train --preset small")
        {
            model, shape, tokens, rho, routing, samples, train, preset, data,
        };
        device.AddTo(command, withType: true);
        command.SetAction(host.Action((parse, context) =>
        {
            if (parse.GetValue(train))
            {
                Refuse(parse, "--train measures the layers and tokens of a preset or a run", shape, tokens, rho, routing);
                return Step(parse, context, device, parse.GetValue(model), parse.GetValue(preset), parse.GetValue(data) ?? [], parse.GetValue(samples) ?? 30);
            }

            Refuse(parse, "a training step is measured with --train", preset, data);
            ProfileShape measured = Shape(parse.GetValue(model), parse.GetValue(shape), parse.GetValue(tokens));
            measured = (measured with
            {
                Rho = parse.GetValue(rho) ?? measured.Rho,
                Tokens = parse.GetValue(tokens) ?? measured.Tokens,
                Distribution = (RoutingDistribution)Math.Max(0, Array.IndexOf(s_distributions, parse.GetValue(routing))),
            }).Validate();
            using Engine engine = device.Create(parse, context);
            ProfileReport report = new LayerProfiler(engine, parse.GetValue(samples) ?? 30).Run(measured, context.Stop);
            if (context.Json)
            {
                WriteJson(context, report, engine.Report);
            }
            else
            {
                WriteText(context, report);
            }

            return 0;
        }));
        return command;
    }

    private static void Refuse(ParseResult parse, string why, params ReadOnlySpan<Option> options)
    {
        foreach (Option option in options)
        {
            if (parse.GetResult(option) is { Implicit: false })
            {
                throw new UsageException($"{option.Name} does not fit: {why}.");
            }
        }
    }

    private static int Step(ParseResult parse, CommandContext context, DeviceOptionSet device, string? model, string? preset, string[] data, int samples)
    {
        if (model is not null && preset is not null)
        {
            throw new UsageException("--model and --preset both say what to train; give one of them.");
        }

        TrainOptions options = model is null ? Presets.Get(preset ?? Presets.Default) : RunFolder.LoadOptions(model);
        byte[]? text = data.Length == 0 ? null : TextCorpus.Load(data, options.Model.ContextLength + 1L).Train;
        using Engine engine = device.Create(parse, context);
        StepReport report = new StepProfiler(engine, samples).Run(options with { FloatType = engine.Backend.FloatType }, text, context.Stop);
        if (context.Json)
        {
            JsonReport.Write(context.Output, Name, json => StepProfileView.Json(json, report, engine.Report));
        }
        else
        {
            StepProfileView.Text(context.Output, report);
        }

        return 0;
    }

    private static ProfileShape Shape(string? model, string? shape, int? tokens)
    {
        if (model is not null && shape is not null)
        {
            throw new UsageException("--model and --shape both say what to measure; give one of them.");
        }

        if (model is null)
        {
            return ProfileShape.Find(shape ?? "small");
        }

        ModelConfig config = RunFolder.LoadConfig(model);
        return new ProfileShape(
            Path.GetFileName(Path.TrimEndingDirectorySeparator(model)), tokens ?? DefaultTokens, config.HiddenSize, config.ExpertWidth, config.Experts, config.TopK, config.DataSparsity);
    }

    private static void WriteText(CommandContext context, ProfileReport report)
    {
        ProfileShape s = report.Shape;
        context.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{s.Name}: T={s.Tokens} d={s.Hidden} n={s.ExpertWidth} E={s.Experts} K={s.TopK} rho={s.Rho} {s.Distribution}, R={report.Rows}"));
        context.Output.WriteLine($"{report.Device}, {Options.Spelling(report.DType)}, medians of {report.Samples} runs");
        context.Output.WriteLine();
        (ProfileRow forward, ProfileRow backward) = report.Totals;
        TextReport.Table(
            context.Output,
            ["op", ">us", ">IQR us", ">TFLOP/s", ">GB/s", ">% of roofline", ">SM MHz"],
            [.. report.Stages.Append(forward).Append(backward).Select(row => new[]
            {
                row.Stage, TextReport.Fixed(row.Microseconds, 1), TextReport.Fixed(row.Spread, 1), TextReport.Fixed(row.TeraFlops, 3),
                TextReport.Fixed(row.GigaBytes, 1), TextReport.Fixed(100 * row.OfRoofline, 0), row.Clocks?.MultiprocessorMegahertz.ToString(CultureInfo.InvariantCulture) ?? "-",
            })]);
    }

    private static void WriteJson(CommandContext context, ProfileReport report, BackendReport backend) =>
        JsonReport.Write(context.Output, Name, json =>
        {
            json.WriteString("shape", report.Shape.Name);
            json.WriteNumber("tokens", report.Shape.Tokens);
            json.WriteNumber("hidden", report.Shape.Hidden);
            json.WriteNumber("expert_width", report.Shape.ExpertWidth);
            json.WriteNumber("experts", report.Shape.Experts);
            json.WriteNumber("top_k", report.Shape.TopK);
            json.Number("rho", report.Shape.Rho);
            json.WriteString("routing", JsonReport.Snake(report.Shape.Distribution.ToString()));
            json.WriteNumber("rows", report.Rows);
            json.WriteString("device", report.Device);
            json.WriteString("dtype", Options.Spelling(report.DType));
            json.WriteNumber("samples", report.Samples);
            json.WriteStartArray("ops");
            foreach (ProfileRow row in report.Stages)
            {
                json.WriteStartObject();
                json.Op(row);
                if (row.Clocks is { } clocks)
                {
                    json.WriteNumber("sm_mhz", clocks.MultiprocessorMegahertz);
                    json.WriteNumber("memory_mhz", clocks.MemoryMegahertz);
                }

                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.Backend(backend);
        });
}
