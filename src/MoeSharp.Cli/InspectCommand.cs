using System.CommandLine;
using System.Globalization;
using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Cli;

/// <summary><c>moe inspect</c>: what is in a safetensors file, a folder of them or a run, without loading any weights.</summary>
internal static class InspectCommand
{
    private const string Name = "inspect";

    /// <summary>Makes the command.</summary>
    public static Command Create(CommandHost host)
    {
        Argument<string> path = new("PATH") { Description = "A safetensors file, a folder with such files, or a run folder." };
        var command = new CliCommand(
            Name,
            "List tensors with shapes, dtypes and bytes, and the routing settings of a model.",
            "moe inspect runs/docs",
            "moe inspect model.safetensors",
            "moe inspect model.safetensors --format json")
        {
            path,
        };
        command.SetAction(host.Action((parse, context) =>
        {
            string target = parse.GetValue(path)!;
            string[] files = Files(target);
            (ModelConfig? config, string? note) = Config(target);
            var opened = new List<SafetensorsFile>();
            try
            {
                opened.AddRange(files.Select(SafetensorsFile.Open));
                if (context.Json)
                {
                    WriteJson(context, target, opened, config, note);
                }
                else
                {
                    WriteText(context, opened, config, note);
                }
            }
            finally
            {
                opened.ForEach(file => file.Dispose());
            }

            return 0;
        }));
        return command;
    }

    private static string[] Files(string target)
    {
        if (File.Exists(target))
        {
            return [target];
        }

        if (!Directory.Exists(target))
        {
            throw new CheckpointFormatException($"'{target}' does not exist; name a safetensors file, a folder with such files, or a run folder.");
        }

        string[] files = [.. Directory.EnumerateFiles(target, "*.safetensors").Order(StringComparer.Ordinal)];
        return files.Length > 0
            ? files
            : throw new CheckpointFormatException($"The folder '{target}' holds no safetensors file; a run has some after its first checkpoint.");
    }

    private static (ModelConfig? Config, string? Note) Config(string target)
    {
        if (!Directory.Exists(target) || !File.Exists(RunFolder.ConfigPath(target)))
        {
            return (null, null);
        }

        try
        {
            return (RunFolder.LoadConfig(target), null);
        }
        catch (MoeSharpException error) when (error is UnsupportedModelException or CheckpointFormatException)
        {
            // The tensors are still worth listing.
            return (null, error.Message);
        }
    }

    private static void WriteText(CommandContext context, List<SafetensorsFile> files, ModelConfig? config, string? note)
    {
        TextWriter output = context.Output;
        if (config is not null)
        {
            output.WriteLine(ReportSource.Summary(config));
            if (!config.IsDense)
            {
                WriteRouting(output, config);
            }

            output.WriteLine();
        }
        else if (note is not null)
        {
            output.WriteLine($"Routing settings are not shown: {note}");
            output.WriteLine();
        }

        foreach (SafetensorsFile file in files)
        {
            output.WriteLine($"{file.FilePath}: {file.Entries.Count} tensors, {TextReport.Bytes(file.Entries.Sum(entry => entry.ByteCount))}");
            foreach ((string key, string value) in file.Metadata.OrderBy(pair => pair.Key, StringComparer.Ordinal))
            {
                output.WriteLine($"  {TextReport.Printable(key)} = {Short(TextReport.Printable(value))}");
            }

            TextReport.Table(
                output,
                ["tensor", "dtype", "shape", ">bytes"],
                [.. file.Entries.Select(entry => new[] { TextReport.Printable(entry.Name), entry.DTypeName, entry.Shape.ToString()!, TextReport.Count(entry.ByteCount) })]);
            output.WriteLine();
        }
    }

    private static void WriteRouting(TextWriter output, ModelConfig config) => TextReport.Pairs(
        output,
        ("experts", $"{config.Experts} real, {config.NullSlots} null ({JsonReport.Snake(config.NullKind.ToString())})"),
        ("slots per token", $"{config.TopK}, of which {TextReport.Fixed(config.TopK * config.DataSparsity, 2)} do real work at data sparsity {config.DataSparsity}"),
        ("router", RouterFamily.NameOf(config.Router) + (config.Router.IsCausal ? string.Empty : ", not causal: cannot generate")),
        ("threshold, weight scale", $"{ReportSource.Threshold(config)?.ToString(CultureInfo.InvariantCulture) ?? "-"}, {config.RoutedScale.ToString(CultureInfo.InvariantCulture)}"),
        ("codebook", Codebook(config.Codebook)),
        ("score, renormalize", $"{JsonReport.Snake(config.Score.ToString())}, {JsonReport.Snake(config.Renormalize.ToString())}"),
        ("selection bias", JsonReport.Snake(config.SelectionBias.ToString())));

    private static string Codebook(CodebookSpec? codebook) => codebook is null
        ? "none"
        : $"{codebook.Codes} codes of width {(codebook.Width == 0 ? "of a token" : TextReport.Count(codebook.Width))}, {JsonReport.Snake(codebook.Distance.ToString())}{(codebook.DiscreteOnly ? ", no router beside it" : string.Empty)}";

    private static string Short(string value) => value.Length <= 100 ? value : value[..97] + "...";

    private static void WriteJson(CommandContext context, string target, List<SafetensorsFile> files, ModelConfig? config, string? note) =>
        JsonReport.Write(context.Output, Name, json =>
        {
            json.WriteString("path", target);
            json.WriteStartArray("files");
            foreach (SafetensorsFile file in files)
            {
                json.WriteStartObject();
                json.WriteString("file", file.FilePath);
                json.WriteNumber("bytes", file.Entries.Sum(entry => entry.ByteCount));
                json.WriteStartObject("metadata");
                foreach ((string key, string value) in file.Metadata.OrderBy(pair => pair.Key, StringComparer.Ordinal))
                {
                    json.WriteString(key, value);
                }

                json.WriteEndObject();
                json.WriteStartArray("tensors");
                foreach (SafetensorsEntry entry in file.Entries)
                {
                    json.WriteStartObject();
                    json.WriteString("name", entry.Name);
                    json.WriteString("dtype", entry.DTypeName);
                    json.WriteStartArray("shape");
                    for (int i = 0; i < entry.Shape.Rank; i++)
                    {
                        json.WriteNumberValue(entry.Shape[i]);
                    }

                    json.WriteEndArray();
                    json.WriteNumber("bytes", entry.ByteCount);
                    json.WriteEndObject();
                }

                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndArray();
            if (config is null)
            {
                json.WriteNull("parameters");
                json.WriteNull("routing");
            }
            else
            {
                json.WriteNumber("parameters", config.ParameterCount);
                json.Routing(config);
            }

            json.WriteString("note", note);
        });
}
