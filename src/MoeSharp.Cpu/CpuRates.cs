using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Cpu;

/// <summary>What the machine can do right now: multiply-adds from registers, pair products from the first-level cache, bytes from memory and caches.</summary>
/// <remarks>
/// The problem: neighbours on a shared machine take a share that changes from second to second, so a peak from a data sheet says nothing. The
/// choice: loops of milliseconds that are measured beside every sample, so that a table can say what part of the possible was reached
/// at that moment. One caller at a time.
/// </remarks>
public sealed unsafe class CpuRates : IDisposable
{
    /// <summary>Bytes of the region that counts as memory by default: more than caches hold.</summary>
    public const long MemoryBytes = 512L << 20;

    /// <summary>
    /// How long threads work unmeasured after they were idle. On the virtual machine of bench/results/amd-epyc-avx512 threads that wake share a
    /// processor for up to 30 milliseconds: of 714 rates of two threads, 217 were below three quarters without this, and 20 of 1337 with it.
    /// </summary>
    private const double WarmMilliseconds = 40;

    /// <summary>From here on threads count as idle; the loops of one rate follow each other faster.</summary>
    private const double IdleMilliseconds = 1;

    private const int MultiplyAddTurns = 2_000_000;
    private const int Steps = 256, Rows = 14, Accumulators = 12;

    /// <summary>Steps for which rows and columns of a product in tile registers take 32 KiB, two thirds of a first-level cache that comes with them.</summary>
    private const int TileSteps = 128;

    /// <summary>Bytes that one measurement of a small region reads at least, in several passes.</summary>
    private const long LeastRead = 64L << 20;

    private readonly CpuParallel _parallel;
    private readonly float[] _sums;
    private readonly byte* _memory;
    private readonly float* _tiles;
    private readonly TileKernel? _kernel;
    private readonly long _bytes;
    private long _count;
    private long _idleSince;
    private long _part;

    /// <summary>Starts threads and touches the memory.</summary>
    /// <param name="threads">Threads that every rate is the sum of, at least 1.</param>
    /// <param name="bytes">Bytes of the largest region, a multiple of 1 MiB.</param>
    /// <exception cref="MoeSharp.Core.BackendUnavailableException">MOESHARP_CPU_ISA names an instruction set that is unknown or not here.</exception>
    public CpuRates(int threads, long bytes = MemoryBytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(bytes, 1 << 20);
        _parallel = new CpuParallel(threads);
        _kernel = CpuIsas.Choose(Environment.GetEnvironmentVariable(CpuIsas.Variable)) == CpuIsa.Amx ? new TileKernel(TileProcessor.Native!, threads) : null;
        _sums = new float[threads * 64];
        _bytes = bytes;
        _memory = (byte*)NativeMemory.AlignedAlloc((nuint)bytes, 2 << 20);
        NativeMemory.Clear(_memory, (nuint)bytes);
        _tiles = (float*)NativeMemory.AlignedAlloc((nuint)(threads * TileFloats * sizeof(float)), 64);
        NativeMemory.Clear(_tiles, (nuint)(threads * TileFloats * sizeof(float)));
    }

    private static int TileFloats => (Steps * (Rows + 32)) + (Rows * 32) + 1024;

    /// <summary>GFLOP/s of fp32 multiply-adds that never leave the registers, in the widest vectors.</summary>
    public double MultiplyAdds()
    {
        double seconds = Time(MultiplyAdds);
        return MultiplyAddsPerLoop * 2 * MultiplyAddTurns * _parallel.Threads / seconds / 1e9;
    }

    /// <summary>GFLOP/s of bf16 pairs, operands in the first-level cache, in tile registers where products use them; 0 where the processor has no instruction for pairs.</summary>
    public double Pairs()
    {
        if (_kernel is not null)
        {
            _count = 10_000;
            return TileSteps * 2.0 * TileKernel.MaxRows * TileKernel.Columns * 2 * _count * _parallel.Threads / Time(static (rates, thread) => rates.MultiplyTiles(thread)) / 1e9;
        }

        if (!DotKernel.IsSupported)
        {
            return 0;
        }

        _count = 3000;
        double seconds = Time(static (rates, thread) =>
        {
            float* a = rates._tiles + (thread * TileFloats), b = a + (Steps * Rows), c = b + (Steps * 32) + 512;
            for (long i = 0; i < rates._count; i++)
            {
                DotKernel.Run(Rows, Steps, a, b, c, 32, 16, 0, false, (byte*)b, 0);
            }
        });
        return _count * Steps * 2.0 * Rows * 32 * 2 * _parallel.Threads / seconds / 1e9;
    }

    /// <summary>GB/s of reading memory once.</summary>
    public double Bandwidth() => Bandwidth(_bytes);

    /// <summary>GB/s of reading a region again and again: what caches of that size give, where they hold it.</summary>
    /// <param name="bytes">Size of the region, all threads together; at most that of the constructor.</param>
    public double Bandwidth(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bytes, _bytes);
        const int Line = 256;
        _part = Math.Max(Line, bytes / _parallel.Threads / Line * Line);
        _count = Math.Max(1, LeastRead / (_part * _parallel.Threads));
        if (_count > 1)
        {
            Read(); // so that it lies in the caches
        }

        return Read();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _parallel.Dispose();
        NativeMemory.AlignedFree(_memory);
        NativeMemory.AlignedFree(_tiles);
    }

    /// <summary>Numbers that one turn of <see cref="MultiplyAdds(long)"/> multiplies and adds.</summary>
    internal static double MultiplyAddsPerLoop => Accumulators * (Vector512.IsHardwareAccelerated ? 16 : Vector256.IsHardwareAccelerated ? 8 : 4);

    /// <summary>The loop: enough independent sums to hide the latency, none of which leaves its register.</summary>
    internal static float MultiplyAdds(long count) =>
        Vector512.IsHardwareAccelerated ? Loop512(count) : Vector256.IsHardwareAccelerated ? Loop256(count) : Loop128(count);

    private void MultiplyTiles(int thread)
    {
        float* a = _tiles + (thread * TileFloats), b = a + (TileSteps * TileKernel.MaxRows), c = b + (TileSteps * TileKernel.Columns);
        for (long i = 0; i < _count; i++)
        {
            _kernel!.Run(thread, TileKernel.MaxRows, TileSteps, a, b, c, TileKernel.Columns, TileKernel.Columns / 2, 0, false);
        }

        _kernel!.Release(thread);
    }

    private double Read()
    {
        double seconds = Time(static (rates, thread) =>
        {
            float sum = 0;
            for (long pass = 0; pass < rates._count; pass++)
            {
                sum += Sum((float*)(rates._memory + (thread * rates._part)), rates._part / sizeof(float));
            }

            rates._sums[thread * 64] = sum;
        });
        return _part * _count * _parallel.Threads / seconds / 1e9;
    }

    private static void MultiplyAdds(CpuRates rates, int thread) => rates._sums[thread * 64] = MultiplyAdds(MultiplyAddTurns);

    private double Time(Action<CpuRates, int> work)
    {
        // Clocks rise with work, and some schedulers put threads that wake together on one processor at first.
        long woken = Stopwatch.GetTimestamp();
        bool idle = Stopwatch.GetElapsedTime(_idleSince, woken).TotalMilliseconds > IdleMilliseconds;
        while (idle && Stopwatch.GetElapsedTime(woken).TotalMilliseconds < WarmMilliseconds)
        {
            Run(MultiplyAdds);
        }

        long start = Stopwatch.GetTimestamp();
        Run(work);
        _idleSince = Stopwatch.GetTimestamp();
        return Stopwatch.GetElapsedTime(start, _idleSince).TotalSeconds;
    }

    private void Run(Action<CpuRates, int> work) =>
        _parallel.For(_parallel.Threads, (Rates: this, Work: work), static (state, thread) => state.Work(state.Rates, thread));

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Loop512(long count)
    {
        Vector512<float> x = Vector512.Create(1.0000001f), y = Vector512.Create(1e-9f);
        Vector512<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
        for (; count > 0; count--)
        {
            a = Vector512.FusedMultiplyAdd(a, x, y);
            b = Vector512.FusedMultiplyAdd(b, x, y);
            c = Vector512.FusedMultiplyAdd(c, x, y);
            d = Vector512.FusedMultiplyAdd(d, x, y);
            e = Vector512.FusedMultiplyAdd(e, x, y);
            f = Vector512.FusedMultiplyAdd(f, x, y);
            g = Vector512.FusedMultiplyAdd(g, x, y);
            h = Vector512.FusedMultiplyAdd(h, x, y);
            i = Vector512.FusedMultiplyAdd(i, x, y);
            j = Vector512.FusedMultiplyAdd(j, x, y);
            k = Vector512.FusedMultiplyAdd(k, x, y);
            l = Vector512.FusedMultiplyAdd(l, x, y);
        }

        return Vector512.Sum(a + b + c + d + e + f + g + h + i + j + k + l);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Loop256(long count)
    {
        Vector256<float> x = Vector256.Create(1.0000001f), y = Vector256.Create(1e-9f);
        Vector256<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
        for (; count > 0; count--)
        {
            a = Vector256.FusedMultiplyAdd(a, x, y);
            b = Vector256.FusedMultiplyAdd(b, x, y);
            c = Vector256.FusedMultiplyAdd(c, x, y);
            d = Vector256.FusedMultiplyAdd(d, x, y);
            e = Vector256.FusedMultiplyAdd(e, x, y);
            f = Vector256.FusedMultiplyAdd(f, x, y);
            g = Vector256.FusedMultiplyAdd(g, x, y);
            h = Vector256.FusedMultiplyAdd(h, x, y);
            i = Vector256.FusedMultiplyAdd(i, x, y);
            j = Vector256.FusedMultiplyAdd(j, x, y);
            k = Vector256.FusedMultiplyAdd(k, x, y);
            l = Vector256.FusedMultiplyAdd(l, x, y);
        }

        return Vector256.Sum(a + b + c + d + e + f + g + h + i + j + k + l);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Loop128(long count)
    {
        Vector128<float> x = Vector128.Create(1.0000001f), y = Vector128.Create(1e-9f);
        Vector128<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
        for (; count > 0; count--)
        {
            a = Vector128.FusedMultiplyAdd(a, x, y);
            b = Vector128.FusedMultiplyAdd(b, x, y);
            c = Vector128.FusedMultiplyAdd(c, x, y);
            d = Vector128.FusedMultiplyAdd(d, x, y);
            e = Vector128.FusedMultiplyAdd(e, x, y);
            f = Vector128.FusedMultiplyAdd(f, x, y);
            g = Vector128.FusedMultiplyAdd(g, x, y);
            h = Vector128.FusedMultiplyAdd(h, x, y);
            i = Vector128.FusedMultiplyAdd(i, x, y);
            j = Vector128.FusedMultiplyAdd(j, x, y);
            k = Vector128.FusedMultiplyAdd(k, x, y);
            l = Vector128.FusedMultiplyAdd(l, x, y);
        }

        return Vector128.Sum(a + b + c + d + e + f + g + h + i + j + k + l);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Sum(float* source, long count)
    {
        Vector512<float> a = default, b = default, c = default, d = default;
        for (long i = 0; i < count; i += 64)
        {
            a += Vector512.Load(source + i);
            b += Vector512.Load(source + i + 16);
            c += Vector512.Load(source + i + 32);
            d += Vector512.Load(source + i + 48);
        }

        return Vector512.Sum(a + b + c + d);
    }
}
