using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Experiments;

/// <summary>Where an experiment keeps its cells, so that a second call goes on where the first one was stopped.</summary>
/// <remarks>
/// <code>
/// FOLDER/config.json            complete configuration
/// FOLDER/cells/STUDY/*.json     one file per finished cell, written whole
/// FOLDER/cells/STUDY/timing.json
/// FOLDER/results.json  report.html  *.svg
/// </code>
/// A cell is a function of its key and its study's settings, so the files of a folder are good for one configuration; with another one the folder
/// is refused. More seeds only add cells.
/// </remarks>
internal sealed class ExperimentFolder : IDisposable
{
    private const string ConfigFile = "config.json";
    private readonly RunLock _lock;

    private ExperimentFolder(string path, ExperimentConfig config, RunLock taken)
    {
        Path = path;
        Config = config;
        _lock = taken;
    }

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>What is run in it.</summary>
    public ExperimentConfig Config { get; }

    /// <summary>Opens a folder for a configuration; makes it when it is missing.</summary>
    /// <exception cref="CheckpointFormatException">It holds something else, another configuration, or another process works in it.</exception>
    public static ExperimentFolder Open(string path, ExperimentConfig config)
    {
        string file = System.IO.Path.Combine(path, ConfigFile);
        if (File.Exists(file))
        {
            Compare(file, path, config);
        }
        else if (Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any(entry => System.IO.Path.GetFileName(entry) != RunLock.FileName))
        {
            throw new CheckpointFormatException($"'{path}' is not empty and holds no experiment; give another --out.");
        }

        Directory.CreateDirectory(path);
        RunLock taken = RunLock.Take(path);
        try
        {
            AtomicFile.WriteText(file, config.ToJson());
            foreach (Study study in config.Experiment.Studies)
            {
                string cells = CellFolder(path, study.Name);
                Directory.CreateDirectory(cells);
                AtomicFile.CleanUp(cells);
            }

            return new ExperimentFolder(path, config, taken);
        }
        catch
        {
            taken.Dispose();
            throw;
        }
    }

    /// <summary>Whether a cell is done.</summary>
    public bool Has(CellKey key) => File.Exists(PathOf(key));

    /// <summary>A finished cell.</summary>
    public CellResult Load(CellKey key) => CellResult.FromJson(File.ReadAllText(PathOf(key)), PathOf(key));

    /// <summary>Keeps a finished cell.</summary>
    public void Save(CellKey key, CellResult result) => AtomicFile.WriteText(PathOf(key), result.ToJson());

    /// <summary>Times of a study that were taken for the same choices; null when there are none.</summary>
    public CellResult? LoadTimings(Study study)
    {
        string file = TimingPath(study);
        return File.Exists(file) ? CellResult.FromJson(File.ReadAllText(file), file) : null;
    }

    /// <summary>Keeps times.</summary>
    public void SaveTimings(Study study, CellResult timings) => AtomicFile.WriteText(TimingPath(study), timings.ToJson());

    /// <summary>Writes a file beside the cells.</summary>
    public string Write(string name, string text)
    {
        string file = System.IO.Path.Combine(Path, name);
        AtomicFile.WriteText(file, text);
        return file;
    }

    /// <summary>Lets another process in.</summary>
    public void Dispose() => _lock.Dispose();

    private static void Compare(string file, string path, ExperimentConfig config)
    {
        ExperimentConfig there = ExperimentConfig.Read(config.Experiment, config.IsQuick, File.ReadAllText(file), file);
        IReadOnlyList<string> differences = config.Differences(there);
        if (differences.Count > 0)
        {
            string more = differences.Count > 1 ? $" (and {differences.Count - 1} more)" : string.Empty;
            throw new CheckpointFormatException(
                $"'{path}' holds results of another configuration: {differences[0]}{more}; give another --out, or delete the folder to begin again.");
        }
    }

    private static string CellFolder(string path, string study) => System.IO.Path.Combine(path, "cells", study);

    private string PathOf(CellKey key) => System.IO.Path.Combine(CellFolder(Path, key.Study), key.FileName);

    private string TimingPath(Study study) => System.IO.Path.Combine(CellFolder(Path, study.Name), "timing.json");
}
