using System.CommandLine;
using System.Globalization;
using System.Text;
using MoeSharp.Models;

namespace MoeSharp.Cli;

/// <summary><c>moe generate</c>: continues a prompt.</summary>
internal static class GenerateCommand
{
    private const string Name = "generate";

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandHost host)
    {
        Option<string> model = Options.Text("--model", "Run folder.", "RUN", required: true);
        Option<string> prompt = Options.Text("--prompt", "Text to continue; may be empty.", "TEXT");
        Option<double?> temperature = Options.Number("--temperature", "Divides the logits; 0 always takes the most probable byte [default: 0.8].", 0.0, 100.0);
        Option<double?> topP = Options.Number("--top-p", "Probability mass of the bytes that are considered [default: 0.95].", 0.0, 1.0, aboveLow: true);
        Option<ulong?> seed = Options.Number("--seed", "Seed; equal seeds give equal text [default: 0].", 0UL, ulong.MaxValue);
        Option<int?> length = Options.Number("--max-tokens", "Bytes to generate [default: 256].", 0, int.MaxValue);
        Option<double?> threshold = Options.Threshold();
        var device = new DeviceOptionSet();
        var command = new CliCommand(
            Name,
            "Continue a prompt with a trained model. Prints the prompt and, byte by byte, what follows.",
            "moe generate --model runs/docs --prompt \"The \"",
            "moe generate --model runs/docs --temperature 0 --max-tokens 1000 > text.txt",
            "moe generate --model runs/docs --prompt \"public class\" --seed 7 --format json")
        {
            model, prompt, temperature, topP, seed, length, threshold,
        };
        device.AddTo(command, withType: true);
        command.SetAction(host.Action(async (parse, context) =>
        {
            var defaults = new GenerateOptions();
            var options = new GenerateOptions
            {
                Temperature = parse.GetValue(temperature) ?? defaults.Temperature,
                TopP = parse.GetValue(topP) ?? defaults.TopP,
                Seed = parse.GetValue(seed) ?? defaults.Seed,
                MaxTokens = parse.GetValue(length) ?? defaults.MaxTokens,
            };
            using Engine engine = device.Create(parse, context);
            using Transformer transformer = RunFolder.Load(parse.GetValue(model)!, engine.Backend, parse.GetValue(threshold));
            string text = parse.GetValue(prompt) ?? string.Empty;
            string continuation = await StreamAsync(context, new Generator(transformer), text, options).ConfigureAwait(false);
            if (context.Json)
            {
                WriteJson(context, parse.GetValue(model)!, text, continuation, options, transformer.Config, engine.Report);
            }

            return 0;
        }));
        return command;
    }

    private static async Task<string> StreamAsync(CommandContext context, Generator generator, string prompt, GenerateOptions options)
    {
        // A stateful decoder: characters of several bytes appear when their last byte does.
        Decoder decoder = Encoding.UTF8.GetDecoder();
        var continuation = new StringBuilder();
        var buffer = new char[4];
        void Show(string text)
        {
            if (!context.Json)
            {
                context.Output.Write(context.Terminal.OutputIsTerminal ? TextReport.Printable(text) : text);
                context.Output.Flush();
            }
        }

        Show(prompt);
        try
        {
            await foreach (int token in generator.StreamAsync(Encoding.UTF8.GetBytes(prompt), options, context.Stop).ConfigureAwait(false))
            {
                string text = new(buffer, 0, decoder.GetChars([(byte)token], buffer, flush: false));
                continuation.Append(text);
                Show(text);
            }
        }
        catch (OperationCanceledException) when (context.Stop.IsCancellationRequested)
        {
            // The text so far is the result.
        }

        string rest = new(buffer, 0, decoder.GetChars([], buffer, flush: true));
        continuation.Append(rest);
        Show(rest + Environment.NewLine);
        return continuation.ToString();
    }

    private static void WriteJson(
        CommandContext context, string folder, string prompt, string text, GenerateOptions options, ModelConfig config, BackendReport backend) =>
        JsonReport.Write(context.Output, Name, json =>
        {
            json.WriteString("model", folder);
            json.WriteString("prompt", prompt);
            json.WriteString("text", text);
            json.Number("temperature", options.Temperature);
            json.Number("top_p", options.TopP);
            json.WriteString("seed", options.Seed.ToString(CultureInfo.InvariantCulture));
            json.WriteNumber("max_tokens", options.MaxTokens);
            json.Number("threshold", ReportSource.Threshold(config) ?? double.NaN);
            json.Backend(backend);
        });
}
