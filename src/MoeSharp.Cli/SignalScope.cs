using System.Runtime.InteropServices;

namespace MoeSharp.Cli;

/// <summary>Turns the first Ctrl-C or SIGTERM into a cancelled token and lets the second one end the process.</summary>
/// <remarks>
/// Training must finish its step and save, which can take longer than a user expects; so the first signal is answered at once with a line,
/// and a second one is never swallowed. Checkpoints are replaced atomically, so even that leaves a usable run.
/// </remarks>
internal sealed class SignalScope : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration _interrupt;
    private readonly PosixSignalRegistration _terminate;
    private readonly TextWriter _error;
    private int _count;

    /// <summary>Begins to listen.</summary>
    public SignalScope(TextWriter error)
    {
        _error = error;
        _interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle);
        _terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle);
    }

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => _source.Token;

    /// <summary>Stops listening.</summary>
    public void Dispose()
    {
        _interrupt.Dispose();
        _terminate.Dispose();
        _source.Dispose();
    }

    private void Handle(PosixSignalContext context)
    {
        if (Interlocked.Increment(ref _count) > 1)
        {
            // Not cancelled: the default action ends the process.
            return;
        }

        context.Cancel = true;
        _error.WriteLine();
        _error.WriteLine("Stopping after this step; once more to abort.");
        _source.Cancel();
    }
}
