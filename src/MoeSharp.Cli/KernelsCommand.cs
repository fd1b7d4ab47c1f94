using System.CommandLine;
using MoeSharp.Cuda;

namespace MoeSharp.Cli;

/// <summary><c>moe kernels</c>: compiles the CUDA kernels beforehand, for machines without NVRTC, and lists them. Needs no GPU.</summary>
internal static class KernelsCommand
{
    /// <summary>Makes the command.</summary>
    public static Command Create(CommandHost host)
    {
        var command = new CliCommand(
            "kernels",
            "Compile the CUDA kernels beforehand, or list them. Needs NVRTC, no GPU.",
            "moe kernels build --arch native --out kernels-compiled",
            "moe kernels list --format json")
        {
            Build(host), List(host),
        };
        return command;
    }

    private static CliCommand Build(CommandHost host)
    {
        Option<string> architectures = Options.Text("--arch", $"Architectures to compile for, separated by commas: sm_80, sm_86, sm_89, sm_90a, or {KernelFolder.Native} for those of this machine's devices.", "LIST", required: true);
        Option<string> output = Options.Text("--out", $"Folder to write; {KernelFolder.Variable} names it on the other machine.", "FOLDER", required: true);
        var command = new CliCommand(
            "build", "Compile every kernel into a folder that can be shipped.", "moe kernels build --arch sm_80,sm_90a --out kernels-compiled")
        {
            architectures, output,
        };
        command.SetAction(host.Action((parse, context) =>
        {
            string folder = parse.GetValue(output)!;
            string[] names = parse.GetValue(architectures)!.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
            if (names.Length == 0)
            {
                throw new UsageException("--arch names at least one architecture, such as sm_90a.");
            }

            int kernels = KernelFolder.Build(folder, names, new Notes(context), stop: context.Stop);
            long bytes = new DirectoryInfo(folder).EnumerateFiles("*.cubin").Sum(file => file.Length);
            if (context.Json)
            {
                JsonReport.Write(context.Output, "kernels build", json =>
                {
                    json.WriteString("folder", Path.GetFullPath(folder));
                    json.WriteNumber("kernels", kernels);
                    json.WriteNumber("bytes", bytes);
                });
            }
            else
            {
                context.Output.WriteLine($"{kernels} kernels, {TextReport.Bytes(bytes)}, in {folder}. Use them with {KernelFolder.Variable}={folder}.");
            }

            return 0;
        }));
        return command;
    }

    private static CliCommand List(CommandHost host)
    {
        var command = new CliCommand("list", "List every kernel file with the constants it is compiled with.", "moe kernels list");
        command.SetAction(host.Action((_, context) =>
        {
            if (context.Json)
            {
                JsonReport.Write(context.Output, "kernels list", json =>
                {
                    json.WriteStartArray("kernels");
                    foreach (KernelKey key in KernelCatalog.All)
                    {
                        json.WriteStartObject();
                        json.WriteString("file", key.File);
                        json.WriteString("constants", key.Constants);
                        json.WriteEndObject();
                    }

                    json.WriteEndArray();
                });
            }
            else
            {
                TextReport.Table(context.Output, ["file", "constants"], [.. KernelCatalog.All.Select(key => new[] { key.File, key.Constants })]);
            }

            return 0;
        }));
        return command;
    }

    /// <summary>A line now and then; compiling takes a minute or more.</summary>
    private sealed class Notes(CommandContext context) : IProgress<(int Done, int Total)>
    {
        private const int Every = 16;

        public void Report((int Done, int Total) value)
        {
            if (value.Done % Every == 0 || value.Done == value.Total)
            {
                context.Note($"compiled {value.Done} of {value.Total}");
            }
        }
    }
}
