using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace MoeSharp.Cpu;

/// <summary>A pool of threads that runs numbered chunks of work: <see cref="For(int, Action{int})"/>.</summary>
/// <remarks>
/// <para>The problem: a training step runs hundreds of small parallel loops, so starting one must cost microseconds, allocate
/// nothing, and still give way when other processes need the cores. The difficulty: a worker that wakes late must not take work from
/// a loop that is over, and a thread that spins at a barrier on a busy machine stops the very thread it waits for.</para>
/// <para>The choice: one 64-bit ticket holds the loop's number and the chunks that are left. Taking a chunk is a compare-and-swap on
/// it, so a late worker fails harmlessly. Threads spin for <see cref="SpinMicroseconds"/> and then sleep. The caller works too.
/// Which thread runs a chunk is not determined, so a chunk's result must depend on its number alone.</para>
/// </remarks>
internal sealed class CpuParallel : IDisposable
{
    /// <summary>How long a thread looks for work before it sleeps: a few times what waking a thread costs.</summary>
    private const int SpinMicroseconds = 40;

    [ThreadStatic]
    private static int t_depth;

    [ThreadStatic]
    private static int t_worker;

    private readonly Thread[] _workers;
    private readonly Lock _caller = new();
    private readonly object _sleep = new();
    private readonly object _done = new();
    private readonly long _spinTicks;
    private long _ticket;
    private int _completed;
    private int _sleepers;
    private bool _callerSleeps;
    private bool _stop;
    private int _chunks;
    private ParallelJob? _job;
    private ExceptionDispatchInfo? _failure;
    private int _failedChunk;

    /// <summary>Starts <paramref name="threads"/> - 1 threads; the caller of a loop is the last one.</summary>
    public CpuParallel(int threads)
    {
        Threads = threads;

        // With more threads than processors, whoever spins keeps a processor from whoever has work.
        _spinTicks = threads > Environment.ProcessorCount ? 0 : Stopwatch.Frequency * SpinMicroseconds / 1_000_000;
        _workers = new Thread[threads - 1];
        for (int i = 0; i < _workers.Length; i++)
        {
            int worker = i + 1;
            _workers[i] = new Thread(() => Work(worker)) { IsBackground = true, Name = $"moesharp-cpu-{worker}" };
            _workers[i].Start();
        }
    }

    /// <summary>Number of threads, the caller included.</summary>
    public int Threads { get; }

    /// <summary>Inside a chunk: which thread runs it, 0 (the caller) to <see cref="Threads"/> - 1. For scratch memory only.</summary>
    public static int CurrentWorker => t_worker;

    /// <summary>Runs <paramref name="body"/> for 0..chunks-1, in any order, on any thread, and returns when all are done.</summary>
    /// <remarks>
    /// Loops from several threads queue; a loop inside a chunk runs inline. An exception of a chunk is thrown here after the others
    /// ran (of several, the one of the lowest chunk). Allocates nothing beyond the caller's delegate.
    /// </remarks>
    public void For(int chunks, Action<int> body) => For(chunks, body, static (action, chunk) => action(chunk));

    /// <summary>The same without a closure: a static lambda and a state, which is copied once.</summary>
    public void For<TState>(int chunks, TState state, Action<TState, int> body)
    {
        if (chunks <= 1 || Threads == 1 || t_depth > 0)
        {
            for (int i = 0; i < chunks; i++)
            {
                body(state, i);
            }

            return;
        }

        ParallelJob<TState> job = ParallelJob<TState>.Take(state, body);
        try
        {
            Run(chunks, job);
        }
        finally
        {
            job.Return();
        }
    }

    /// <summary>Stops the threads and waits for them.</summary>
    public void Dispose()
    {
        Volatile.Write(ref _stop, true);
        lock (_sleep)
        {
            Monitor.PulseAll(_sleep);
        }

        foreach (Thread worker in _workers)
        {
            worker.Join();
        }
    }

    private void Run(int chunks, ParallelJob job)
    {
        lock (_caller)
        {
            ObjectDisposedException.ThrowIf(Volatile.Read(ref _stop), this);
            _job = job;
            _chunks = chunks;
            _completed = 0;
            _failure = null;
            long number = (Volatile.Read(ref _ticket) >> 32) + 1;

            // A full fence: either a worker on its way to sleep sees the ticket, or this thread sees the sleeper.
            Interlocked.Exchange(ref _ticket, (number << 32) | (uint)chunks);
            if (Volatile.Read(ref _sleepers) > 0)
            {
                Wake(chunks - 1);
            }

            while (TryRunChunk())
            {
            }

            WaitForOthers(chunks);
            _job = null;
            _failure?.Throw();
        }
    }

    private void Wake(int most)
    {
        lock (_sleep)
        {
            for (int i = Math.Min(_sleepers, most); i > 0; i--)
            {
                Monitor.Pulse(_sleep);
            }
        }
    }

    private void WaitForOthers(int chunks)
    {
        long start = Stopwatch.GetTimestamp();
        while (Volatile.Read(ref _completed) < chunks)
        {
            if (Stopwatch.GetTimestamp() - start < _spinTicks)
            {
                Thread.SpinWait(4);
                continue;
            }

            lock (_done)
            {
                Volatile.Write(ref _callerSleeps, true);
                Interlocked.MemoryBarrier();
                while (Volatile.Read(ref _completed) < chunks)
                {
                    Monitor.Wait(_done);
                }

                Volatile.Write(ref _callerSleeps, false);
            }
        }
    }

    private bool TryRunChunk()
    {
        long ticket = Volatile.Read(ref _ticket);
        while ((uint)ticket != 0)
        {
            long seen = Interlocked.CompareExchange(ref _ticket, ticket - 1, ticket);
            if (seen == ticket)
            {
                // The loop cannot end before this chunk is counted, so its fields stand still from here.
                RunChunk(_chunks - (int)(uint)ticket);
                return true;
            }

            ticket = seen;
        }

        return false;
    }

    private void RunChunk(int chunk)
    {
        int chunks = _chunks;
        t_depth++;
        try
        {
            _job!.Run(chunk);
        }
        catch (Exception exception)
        {
            lock (_done)
            {
                if (_failure is null || chunk < _failedChunk)
                {
                    _failure = ExceptionDispatchInfo.Capture(exception);
                    _failedChunk = chunk;
                }
            }
        }
        finally
        {
            t_depth--;
        }

        if (Interlocked.Increment(ref _completed) == chunks && Volatile.Read(ref _callerSleeps))
        {
            lock (_done)
            {
                Monitor.PulseAll(_done);
            }
        }
    }

    private void Work(int worker)
    {
        t_worker = worker;
        long idleSince = Stopwatch.GetTimestamp();
        while (!Volatile.Read(ref _stop))
        {
            if (TryRunChunk())
            {
                idleSince = Stopwatch.GetTimestamp();
            }
            else if (Stopwatch.GetTimestamp() - idleSince < _spinTicks)
            {
                Thread.SpinWait(4);
            }
            else
            {
                Sleep();
                idleSince = Stopwatch.GetTimestamp();
            }
        }
    }

    private void Sleep()
    {
        lock (_sleep)
        {
            Interlocked.Increment(ref _sleepers);
            while ((uint)Volatile.Read(ref _ticket) == 0 && !Volatile.Read(ref _stop))
            {
                Monitor.Wait(_sleep);
            }

            Interlocked.Decrement(ref _sleepers);
        }
    }
}
