using MoeSharp.Core;
using MoeSharp.Cpu;
using MoeSharp.Models;

namespace MoeSharp.Tests;

/// <summary>Small training runs in a temporary folder, and what can be compared about them.</summary>
internal sealed class TrainingRun : IDisposable
{
    public TrainingRun()
    {
        Data = Folder.Write("data/text.txt", Samples.Program(1500));
    }

    public TempFolder Folder { get; } = new();

    public string Data { get; }

    /// <summary>The tiny preset, shortened, writing into a folder of that name.</summary>
    public TrainOptions Options(string name) => Presets.Get("tiny") with
    {
        RunFolder = Folder[name],
        Data = [Data],
        Steps = 16,
        SaveEvery = 6,
        EvaluateEvery = 8,
        LogEvery = 4,
        Seed = 3,
        SampleBytes = 8,
    };

    /// <summary>Runs from the beginning to the end and returns the folder.</summary>
    public string Complete(TrainOptions options, int threads = 1)
    {
        using var backend = new CpuBackend(threads);
        using Trainer trainer = Trainer.Start(backend, options);
        trainer.Run();
        return options.RunFolder;
    }

    /// <summary>Resumes to the end.</summary>
    public static TrainResult Resume(string folder)
    {
        using var backend = new CpuBackend(1);
        using Trainer trainer = Trainer.Resume(backend, folder);
        return trainer.Run();
    }

    /// <summary>Runs and copies the folder as it is when a step is logged: what a kill at that moment would leave.</summary>
    public string CopyAt(TrainOptions options, long step, string copy)
    {
        using var backend = new CpuBackend(1);
        using Trainer trainer = Trainer.Start(backend, options);
        trainer.Run(new Watch(progress =>
        {
            if (progress.Step == step && progress.ValidationBitsPerByte is null)
            {
                CopyFolder(options.RunFolder, Folder[copy]);
            }
        }));
        return Folder[copy];
    }

    public void Dispose() => Folder.Dispose();

    /// <summary>Raw bytes of every tensor of a file.</summary>
    public static SortedDictionary<string, string> Tensors(string path)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        var all = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (SafetensorsEntry entry in file.Entries)
        {
            var bytes = new byte[entry.ByteCount];
            file.ReadBytes(entry.Name, 0, bytes);
            all.Add(entry.Name, Convert.ToHexString(bytes));
        }

        return all;
    }

    /// <summary>Lines of the metrics without what depends on the clock.</summary>
    public static string[] Metrics(string folder)
    {
        RunMetrics metrics = RunMetrics.Read(RunFolder.MetricsPath(folder));
        return
        [
            .. metrics.Train.Select(line =>
                $"{line.Step} {line.TrainBitsPerByte:R} {line.LearningRate:R} {line.GradientNorm:R} {line.LoadBalance:R} {string.Join(',', line.NullShare)} {string.Join(',', line.ExpertLoad.SelectMany(x => x))}"),
            .. metrics.Evaluations.Select(line => $"{line.Step} {line.IsFinal} {line.Result.BitsPerByte:R} {string.Join(',', line.Result.NullShareByClass)}"),
            $"{metrics.Final?.Step} {Convert.ToHexString(metrics.Final?.Sample ?? [])}",
        ];
    }

    private static void CopyFolder(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (string file in Directory.GetFiles(from).Where(file => Path.GetFileName(file) != ".lock"))
        {
            using var source = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            using FileStream target = File.Create(Path.Combine(to, Path.GetFileName(file)));
            source.CopyTo(target);
        }
    }

    /// <summary>Reports progress at once, on the training thread.</summary>
    internal sealed class Watch(Action<TrainProgress> action) : IProgress<TrainProgress>
    {
        public void Report(TrainProgress value) => action(value);
    }
}
