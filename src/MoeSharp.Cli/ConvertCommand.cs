using System.CommandLine;
using MoeSharp.Compression;
using MoeSharp.Models;

namespace MoeSharp.Cli;

/// <summary><c>moe convert</c>: splits the feed-forward layers of a dense model into experts, or takes the router out of a vq model.</summary>
internal static class ConvertCommand
{
    private const string Name = "convert";

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandHost host)
    {
        Option<string> run = Options.Text("--model", "Run folder of a dense model, as moe train --dense makes, or of a vq model.", "RUN", required: true);
        Option<int?> experts = Options.Number("--experts", "Split dense layers into so many experts; divides their width.", 2, 65536);
        Option<bool> drop = new("--drop-router") { Description = "Take the router out of a vq model: its codes alone choose one expert per token." };
        Option<string> output = Options.Text("--out", "Folder to make [default: RUN-N-experts or RUN-codes].", "FOLDER");
        Option<string> partition = Options.Choice(
            "--partition", "Which neurons make an expert: those whose gates look at similar directions, or neighbours [default: clustered].", ["clustered", "contiguous"]);
        var command = new CliCommand(
            Name,
            "Split the feed-forward layers of a dense model into experts (XMoE), or take the router out of a VQMoE model.\n"
            + "A split model computes the same; train it on, then lower --threshold in eval and generate.",
            "moe convert --model runs/dense --experts 16 --out runs/split",
            "moe train --init runs/split --steps 500 --out runs/xmoe",
            "moe eval --model runs/xmoe --threshold 0.9",
            "moe convert --model runs/vq --drop-router --out runs/codes")
        {
            run, experts, drop, output, partition,
        };
        command.SetAction(host.Action((parse, context) =>
        {
            string source = parse.GetValue(run)!;
            int? count = parse.GetValue(experts);
            if (parse.GetValue(drop) == count.HasValue)
            {
                throw new UsageException("convert does one thing: give --experts N for a dense model, or --drop-router for a vq model.");
            }

            if (!count.HasValue && parse.GetValue(partition) is not null)
            {
                throw new UsageException("--partition says how dense layers are split; leave it out with --drop-router.");
            }

            string target = parse.GetValue(output) ?? Path.TrimEndingDirectorySeparator(source) + (count is int n ? $"-{n}-experts" : "-codes");
            NeuronPartition kind = parse.GetValue(partition) == "contiguous" ? NeuronPartition.Contiguous : NeuronPartition.Clustered;
            ModelConfig before = RunFolder.LoadConfig(source);
            _ = count is int parts ? DenseSplit.Configuration(before, parts) : RouterRemoval.Configuration(before);
            using Engine engine = Engine.Create(new EngineOptions { Device = "cpu" });
            using Transformer model = RunFolder.Load(source, engine.Backend);
            using Transformer made = count is int pieces ? DenseSplit.Split(model, pieces, kind) : RouterRemoval.Remove(model);
            RunFolder.SaveDerived(target, made, source);
            Write(context, source, target, made.Config, count.HasValue ? kind : null);
            return 0;
        }));
        return command;
    }

    private static void Write(CommandContext context, string source, string target, ModelConfig config, NeuronPartition? partition)
    {
        string next = TrainCommand.Line("--init", target);
        if (context.Json)
        {
            JsonReport.Write(context.Output, Name, json =>
            {
                json.WriteString("model", source);
                json.WriteString("out", target);
                json.WriteString("partition", partition is NeuronPartition kind ? JsonReport.Snake(kind.ToString()) : null);
                json.WriteNumber("expert_width", config.ExpertWidth);
                json.WriteNumber("parameters", config.ParameterCount);
                json.Routing(config);
                json.WriteString("next", next);
            });
            return;
        }

        context.Output.WriteLine(ReportSource.Summary(config));
        TextReport.Pairs(
            context.Output,
            ("model", target),
            ("computes", partition is null
                ? "the discrete branch alone, with one expert per token; train it on"
                : "what the dense model does, up to rounding, while every expert takes part (threshold 1)"),
            ("next", next));
    }
}
