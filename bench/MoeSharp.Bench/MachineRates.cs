using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using MoeSharp.Cpu;

namespace MoeSharp.Bench;

/// <summary>What the machine can do right now: multiply-adds from registers, pair products from the first-level cache, bytes from memory.</summary>
/// <remarks>
/// The problem: neighbours on a shared machine take a share that changes from second to second. The choice: short loops that are measured
/// beside every sample, so that a table can say what part of the possible was reached at that moment.
/// </remarks>
internal sealed unsafe class MachineRates : IDisposable
{
    private const long Bytes = 512L << 20;
    private const int Steps = 256, Rows = 14;
    private readonly CpuParallel _parallel;
    private readonly float[] _sums;
    private readonly byte* _memory;
    private readonly float* _tiles;
    private long _count;

    public MachineRates(int threads)
    {
        _parallel = new CpuParallel(threads);
        _sums = new float[threads * 64];
        _memory = (byte*)NativeMemory.AlignedAlloc((nuint)Bytes, 2 << 20);
        new Span<byte>(_memory, (int)Bytes).Clear();
        _tiles = (float*)NativeMemory.AlignedAlloc((nuint)(threads * TileFloats * sizeof(float)), 64);
        new Span<float>(_tiles, threads * TileFloats).Clear();
    }

    private static int TileFloats => (Steps * (Rows + 32)) + (Rows * 32) + 1024;

    /// <summary>GFLOP/s of fp32 multiply-adds that never leave the registers.</summary>
    public double MultiplyAdds()
    {
        _count = 2_000_000;
        double seconds = Time(static (rates, thread) => rates._sums[thread * 64] = Loop(rates._count));
        return _count * 12 * Vector512<float>.Count * 2 * _parallel.Threads / seconds / 1e9;
    }

    /// <summary>GFLOP/s of bf16 pairs, operands in the first-level cache; 0 where the processor has no instruction for them.</summary>
    public double Pairs()
    {
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
                DotKernel.Run(Rows, Steps, a, b, c, 32, 16, 0, false);
            }
        });
        return _count * Steps * 2.0 * Rows * 32 * 2 * _parallel.Threads / seconds / 1e9;
    }

    /// <summary>GB/s of reading memory once.</summary>
    public double Bandwidth()
    {
        double seconds = Time(static (rates, thread) =>
        {
            long part = Bytes / rates._parallel.Threads;
            rates._sums[thread * 64] = Read((float*)(rates._memory + (thread * part)), part / sizeof(float));
        });
        return Bytes / seconds / 1e9;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _parallel.Dispose();
        NativeMemory.AlignedFree(_memory);
        NativeMemory.AlignedFree(_tiles);
    }

    private double Time(Action<MachineRates, int> work)
    {
        long start = Stopwatch.GetTimestamp();
        _parallel.For(_parallel.Threads, (Rates: this, Work: work), static (state, thread) => state.Work(state.Rates, thread));
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Loop(long count)
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
    private static float Read(float* source, long count)
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
