using System.CommandLine;
using MoeSharp.Compression;
using MoeSharp.Models;

namespace MoeSharp.Cli;

/// <summary><c>moe convert</c>: splits the feed-forward layers of a dense model into experts.</summary>
internal static class ConvertCommand
{
    private const string Name = "convert";

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandHost host)
    {
        Option<string> model = Options.Text("--model", "Run folder of a dense model, as moe train --dense makes.", "RUN", required: true);
        Option<int?> experts = Options.Number("--experts", "Experts per layer; divides the width of the dense layers.", 2, 65536);
        experts.Required = true;
        Option<string> output = Options.Text("--out", "Folder to make [default: RUN-N-experts].", "FOLDER");
        Option<string> partition = Options.Choice(
            "--partition", "Which neurons make an expert: those whose gates look at similar directions, or neighbours [default: clustered].", ["clustered", "contiguous"]);
        var command = new CliCommand(
            Name,
            "Split the feed-forward layers of a dense model into experts (XMoE).\nThe new model computes the same; train it on, then lower --threshold in eval and generate.",
            "moe convert --model runs/dense --experts 16 --out runs/split",
            "moe train --init runs/split --steps 500 --out runs/xmoe",
            "moe eval --model runs/xmoe --threshold 0.9")
        {
            model, experts, output, partition,
        };
        command.SetAction(host.Action((parse, context) =>
        {
            string source = parse.GetValue(model)!;
            int count = parse.GetValue(experts)!.Value;
            string target = parse.GetValue(output) ?? $"{Path.TrimEndingDirectorySeparator(source)}-{count}-experts";
            NeuronPartition kind = parse.GetValue(partition) == "contiguous" ? NeuronPartition.Contiguous : NeuronPartition.Clustered;
            _ = DenseSplit.Configuration(RunFolder.LoadConfig(source), count);
            using Engine engine = Engine.Create(new EngineOptions { Device = "cpu" });
            using Transformer dense = RunFolder.Load(source, engine.Backend);
            using Transformer split = DenseSplit.Split(dense, count, kind);
            RunFolder.SaveDerived(target, split, source);
            Write(context, source, target, split.Config, kind);
            return 0;
        }));
        return command;
    }

    private static void Write(CommandContext context, string source, string target, ModelConfig config, NeuronPartition partition)
    {
        string next = TrainCommand.Line("--init", target);
        if (context.Json)
        {
            JsonReport.Write(context.Output, Name, json =>
            {
                json.WriteString("model", source);
                json.WriteString("out", target);
                json.WriteString("partition", JsonReport.Snake(partition.ToString()));
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
            ("computes", "what the dense model does, up to rounding, while every expert takes part (threshold 1)"),
            ("next", next));
    }
}
