using System.Text.Json;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Writes <c>train.json</c>: the options, and which text the run was begun with. Resuming on another text would silently train something else.</summary>
internal static class CorpusIdentity
{
    public static void Write(TrainOptions options, CorpusResult corpus)
    {
        string text = JsonText.Indented(json =>
        {
            json.WriteStartObject();
            options.WriteFields(json);
            json.WriteStartObject("corpus");
            json.WriteString("sha256", corpus.Sha256);
            json.WriteNumber("files", corpus.Files.Count);
            json.WriteNumber("skipped_files", corpus.Skipped.Count);
            json.WriteNumber("train_bytes", corpus.Train.Length);
            json.WriteNumber("validation_bytes", corpus.Validation.Length);
            json.WriteEndObject();
            json.WriteEndObject();
        });
        AtomicFile.WriteText(RunFolder.TrainPath(options.RunFolder), text);
    }

    /// <summary>Writes the options and the identity of another folder's text, with another model.</summary>
    public static void Copy(string from, string to, ModelConfig model)
    {
        string path = RunFolder.TrainPath(from);
        TrainOptions options = RunFolder.LoadOptions(from) with { Model = model, ThresholdSteps = 0 };
        using JsonDocument document = JsonFields.Parse(File.ReadAllText(path), path);
        bool known = new JsonFields(document.RootElement, path).TryGet("corpus", out JsonElement corpus);
        AtomicFile.WriteText(RunFolder.TrainPath(to), JsonText.Indented(json =>
        {
            json.WriteStartObject();
            options.WriteFields(json);
            if (known)
            {
                json.WritePropertyName("corpus");
                corpus.WriteTo(json);
            }

            json.WriteEndObject();
        }));
    }

    /// <summary>The SHA-256 of the text that the run began with.</summary>
    /// <exception cref="CheckpointFormatException">It is not there.</exception>
    public static string Read(string folder)
    {
        string path = RunFolder.TrainPath(folder);
        using JsonDocument document = JsonFields.Parse(File.ReadAllText(path), path);
        return new JsonFields(document.RootElement, path).Object("corpus").Text("sha256");
    }
}
