using System.Globalization;
using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>The files of a run folder, and how they stay consistent.</summary>
/// <remarks>
/// <para>The problem: a run can be killed at any moment, also while it saves, and must go on later as if nothing had happened. The
/// difficulty: weights, moments and counters must never come from different steps. The choice: everything that resuming needs is in ONE
/// file, <c>optimizer.safetensors</c> (weights, moments, buffers, and step and counters as metadata), which is replaced by one atomic rename;
/// so there is always exactly one last good checkpoint. <c>model.safetensors</c> is derived from it, replaced after it in the same way,
/// and rewritten on resume when a kill left it one checkpoint behind.</para>
/// <para>Random numbers are functions of the seed and the step, so no generator state exists. <c>metrics.jsonl</c> is cut back to the
/// step of the checkpoint on resume.</para>
/// </remarks>
public static class RunFolder
{
    /// <summary>Weights for use: parameters and selection biases.</summary>
    public const string ModelFile = "model.safetensors";

    /// <summary>The shape of the model.</summary>
    public const string ConfigFile = "config.json";

    /// <summary>The checkpoint to resume from.</summary>
    public const string OptimizerFile = "optimizer.safetensors";

    /// <summary>The training options and the identity of the data.</summary>
    public const string TrainFile = "train.json";

    /// <summary>One JSON object per log line and evaluation.</summary>
    public const string MetricsFile = "metrics.jsonl";

    /// <summary>The report of the run.</summary>
    public const string ReportFile = "report.html";

    /// <summary>Path of <c>model.safetensors</c>.</summary>
    public static string ModelPath(string folder) => Path.Combine(folder, ModelFile);

    /// <summary>Path of <c>config.json</c>.</summary>
    public static string ConfigPath(string folder) => Path.Combine(folder, ConfigFile);

    /// <summary>Path of <c>optimizer.safetensors</c>.</summary>
    public static string OptimizerPath(string folder) => Path.Combine(folder, OptimizerFile);

    /// <summary>Path of <c>train.json</c>.</summary>
    public static string TrainPath(string folder) => Path.Combine(folder, TrainFile);

    /// <summary>Path of <c>metrics.jsonl</c>.</summary>
    public static string MetricsPath(string folder) => Path.Combine(folder, MetricsFile);

    /// <summary>Path of <c>report.html</c>.</summary>
    public static string ReportPath(string folder) => Path.Combine(folder, ReportFile);

    /// <summary>Reads the shape of the model in a folder.</summary>
    /// <exception cref="CheckpointFormatException">The folder or its <c>config.json</c> is missing or broken.</exception>
    /// <exception cref="UnsupportedModelException">The architecture is another one.</exception>
    public static ModelConfig LoadConfig(string folder)
    {
        string path = ConfigPath(folder);
        return ModelConfig.FromJson(ReadText(folder, path), path);
    }

    /// <summary>Reads the training options of a run; <see cref="TrainOptions.RunFolder"/> is the folder.</summary>
    /// <exception cref="CheckpointFormatException">The folder or its <c>train.json</c> is missing or broken.</exception>
    public static TrainOptions LoadOptions(string folder)
    {
        string path = TrainPath(folder);
        return TrainOptions.FromJson(ReadText(folder, path), path) with { RunFolder = folder };
    }

    /// <summary>Loads the model of a folder. The caller disposes it.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="backend">Computes every op of the model.</param>
    /// <param name="threshold">Probability mass of the router instead of that in <c>config.json</c>.</param>
    /// <exception cref="ArgumentException">A threshold is given but the model has no threshold router, or it is not in (0, 1].</exception>
    /// <exception cref="CheckpointFormatException">A file is missing or broken, or weights and configuration do not fit each other.</exception>
    /// <exception cref="UnsupportedModelException">The architecture is another one.</exception>
    public static Transformer Load(string folder, Backend backend, double? threshold = null)
    {
        ModelConfig config = LoadConfig(folder);
        config = threshold is double mass ? config.WithThreshold(mass) : config;
        var model = new Transformer(backend, config, seed: 0);
        try
        {
            Fill(folder, model);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Writes a model and its configuration to a folder, each file atomically.</summary>
    /// <param name="folder">Made when it does not exist.</param>
    /// <param name="model">The model.</param>
    /// <param name="step">Optimizer steps behind the weights; kept as metadata.</param>
    public static void SaveModel(string folder, Transformer model, long step)
    {
        ArgumentNullException.ThrowIfNull(model);
        Directory.CreateDirectory(folder);
        AtomicFile.WriteText(ConfigPath(folder), model.Config.ToJson());
        WriteModel(folder, model, step);
    }

    /// <summary>Writes a model that was made from the one in another folder: weights, shape, and the training options and data of that folder.</summary>
    /// <remarks>
    /// The new folder appears whole or not at all. It holds no checkpoint: a new run begins with its weights (<see cref="TrainOptions.InitialModel"/>).
    /// </remarks>
    /// <param name="folder">Made by this call; may exist when it is empty.</param>
    /// <param name="model">The model.</param>
    /// <param name="source">The folder it was made from.</param>
    /// <exception cref="CheckpointFormatException">The folder is not empty or cannot be written.</exception>
    public static void SaveDerived(string folder, Transformer model, string source)
    {
        ArgumentNullException.ThrowIfNull(model);
        CheckFree(folder);
        string target = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)), temporary = target + AtomicFile.TemporarySuffix;
        try
        {
            RemoveFolder(temporary);
            SaveModel(temporary, model, step: 0);
            if (File.Exists(TrainPath(source)))
            {
                CorpusIdentity.Copy(source, temporary, model.Config);
            }

            RemoveFolder(target);
            Directory.Move(temporary, target);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointFormatException($"The folder '{folder}' cannot be written: {error.Message}", error);
        }
        finally
        {
            RemoveFolder(temporary);
        }
    }

    /// <summary>Refuses a folder that holds anything of value.</summary>
    /// <exception cref="CheckpointFormatException">It is a file or not empty.</exception>
    internal static void CheckFree(string folder)
    {
        bool used = File.Exists(folder)
            || (Directory.Exists(folder) && Directory.EnumerateFileSystemEntries(folder).Any(entry => !IsLeftover(Path.GetFileName(entry))));
        if (used)
        {
            throw new CheckpointFormatException($"The run folder '{folder}' exists and is not empty; resume that run, or choose another folder.");
        }
    }

    /// <summary>Fills a model with the weights of a folder; both sides must match completely.</summary>
    internal static void Fill(string folder, Transformer model)
    {
        using SafetensorsFile file = SafetensorsFile.Open(ModelPath(folder));
        Fill(file, model.StateTensors);
    }

    /// <summary>Whether a folder holds a run: its files are results, not data to train on.</summary>
    internal static bool IsRunFolder(string folder) =>
        File.Exists(TrainPath(folder)) && File.ReadAllText(TrainPath(folder)).Contains("\"accumulation_steps\"", StringComparison.Ordinal);

    internal static void WriteModel(string folder, Transformer model, long step) => SafetensorsWriter.Write(
        ModelPath(folder),
        model.StateTensors,
        new Dictionary<string, string> { ["format"] = ModelConfig.MoeSharpType, ["step"] = step.ToString(CultureInfo.InvariantCulture) });

    /// <summary>Replaces the checkpoint, then the derived model file.</summary>
    internal static void SaveCheckpoint(string folder, Transformer model, AdamW optimizer, TrainState state, RoutingMeter meter)
    {
        SafetensorsWriter.Write(OptimizerPath(folder), [.. model.StateTensors, .. optimizer.State], state.ToMetadata(meter));
        WriteModel(folder, model, state.Step);
    }

    /// <summary>Restores the last checkpoint; null when the run was stopped before its first one.</summary>
    internal static TrainState? LoadCheckpoint(string folder, Transformer model, AdamW optimizer, RoutingMeter meter)
    {
        string path = OptimizerPath(folder);
        if (!File.Exists(path))
        {
            return null;
        }

        TrainState state;
        using (SafetensorsFile file = SafetensorsFile.Open(path))
        {
            state = TrainState.FromMetadata(file.Metadata, meter, path);
            Fill(file, [.. model.StateTensors, .. optimizer.State]);
        }

        optimizer.Step = state.Step;
        if (ModelStep(folder) != state.Step.ToString(CultureInfo.InvariantCulture))
        {
            WriteModel(folder, model, state.Step);
        }

        return state;
    }

    /// <summary>Copies every tensor of a file into the tensor of that name; both sides must match completely.</summary>
    internal static void Fill(SafetensorsFile file, IReadOnlyList<(string Name, Tensor Tensor)> tensors)
    {
        string[] wanted = [.. tensors.Select(item => item.Name)];
        string[] missing = [.. wanted.Where(name => !file.Contains(name))];
        string[] extra = [.. file.Entries.Select(entry => entry.Name).Except(wanted)];
        if (missing.Length + extra.Length > 0)
        {
            throw new CheckpointFormatException(
                $"{file.FilePath} does not fit the configuration: missing {List(missing)}; not expected {List(extra)}.");
        }

        foreach ((string name, Tensor tensor) in tensors)
        {
            file.CopyInto(name, tensor);
        }
    }

    private static bool IsLeftover(string name) =>
        name == RunLock.FileName || name.EndsWith(AtomicFile.TemporarySuffix, StringComparison.Ordinal);

    private static void RemoveFolder(string path)
    {
        if (Directory.Exists(path))
        {
            Directory.Delete(path, recursive: true);
        }
    }

    private static string? ModelStep(string folder)
    {
        if (!File.Exists(ModelPath(folder)))
        {
            return null;
        }

        using SafetensorsFile file = SafetensorsFile.Open(ModelPath(folder));
        return file.Metadata.GetValueOrDefault("step");
    }

    private static string List(string[] names) => names.Length == 0
        ? "nothing"
        : string.Join(", ", names.Take(20)) + (names.Length > 20 ? $" and {names.Length - 20} more" : string.Empty);

    private static string ReadText(string folder, string path)
    {
        if (!Directory.Exists(folder))
        {
            throw new CheckpointFormatException($"The folder '{folder}' does not exist; name a run folder made by training.");
        }

        if (!File.Exists(path))
        {
            throw new CheckpointFormatException($"The folder '{folder}' has no {Path.GetFileName(path)}; it is not a run folder, or training stopped before it began.");
        }

        try
        {
            return File.ReadAllText(path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointFormatException($"{path} cannot be read: {error.Message}", error);
        }
    }
}
