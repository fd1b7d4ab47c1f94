using System.CommandLine;
using MoeSharp.Core;

namespace MoeSharp.Cli;

/// <summary><c>--device</c> and <c>--threads</c>, and <c>--dtype</c> where it is not a setting of the run: where and in what a command computes.</summary>
internal sealed class DeviceOptionSet
{
    private readonly Option<string> _device = new("--device")
    {
        Description = "Where to compute: auto, cpu, cuda or cuda:N. A named device is used or refused, never replaced.",
        HelpName = "DEVICE",
        DefaultValueFactory = _ => "auto",
    };

    private readonly Option<string> _type = Options.FloatType();
    private readonly Option<int?> _threads =
        Options.Number("--threads", "Threads on the CPU; one per processor by default. Results do not depend on it.", 1, 1024);

    /// <summary>Adds the options to a command.</summary>
    public void AddTo(Command command, bool withType = false)
    {
        command.Add(_device);
        if (withType)
        {
            command.Add(_type);
        }

        command.Add(_threads);
    }

    /// <summary>Makes the engine of the command line. When a machine has a driver but <c>auto</c> cannot use it, one line says why.</summary>
    public Engine Create(ParseResult parse, CommandContext context, DType? type = null) => Engine.Create(new EngineOptions
    {
        Device = parse.GetValue(_device)!,
        Threads = parse.GetValue(_threads) ?? 0,
        FloatType = type ?? Options.FloatType(parse.GetValue(_type)),
        Log = context.Note,
    });
}
