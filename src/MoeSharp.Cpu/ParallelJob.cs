namespace MoeSharp.Cpu;

/// <summary>What a parallel loop runs.</summary>
internal abstract class ParallelJob
{
    /// <summary>Runs one chunk.</summary>
    public abstract void Run(int chunk);
}

/// <summary>A state and a body. Each thread keeps one per state type, so a loop allocates none in the steady state.</summary>
internal sealed class ParallelJob<TState> : ParallelJob
{
    [ThreadStatic]
    private static ParallelJob<TState>? t_spare;

    private TState _state = default!;
    private Action<TState, int>? _body;

    /// <summary>Takes this thread's spare job, or makes one.</summary>
    public static ParallelJob<TState> Take(TState state, Action<TState, int> body)
    {
        ParallelJob<TState> job = t_spare ?? new();
        t_spare = null;
        job._state = state;
        job._body = body;
        return job;
    }

    /// <inheritdoc/>
    public override void Run(int chunk) => _body!(_state, chunk);

    /// <summary>Forgets state and body and makes the job the spare one.</summary>
    public void Return()
    {
        _state = default!;
        _body = null;
        t_spare = this;
    }
}
