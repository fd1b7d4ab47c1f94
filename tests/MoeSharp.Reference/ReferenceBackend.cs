using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using MoeSharp.Core;

namespace MoeSharp.Reference;

/// <summary>The oracle: every op of the contract in double precision, by scalar loops, written to be read as the specification.</summary>
/// <remarks>
/// <para>The problem: fast backends need something to be compared with that is right by inspection. The difficulty: the rules about
/// null slots, ties and normalisation are many. The choice: one plain loop per formula, in the order of the formula, and no
/// sharing of tricks with the backends under test; speed does not matter.</para>
/// <para>Fresh memory is filled with 0xFF bytes (NaN, -1), so that reading what was never written shows in every result.</para>
/// </remarks>
public sealed unsafe partial class ReferenceBackend : Backend
{
    private const int Alignment = 64;

    /// <inheritdoc/>
    public override string Name => "reference";

    /// <inheritdoc/>
    public override Device Device => Device.Cpu;

    /// <inheritdoc/>
    public override DType FloatType => DType.Float64;

    /// <inheritdoc/>
    protected override Storage Allocate(long byteCount)
    {
        if (byteCount == 0)
        {
            return new Storage(0, 0, _ => { });
        }

        void* memory = NativeMemory.AlignedAlloc(checked((nuint)byteCount), Alignment);
        NativeMemory.Fill(memory, (nuint)byteCount, 0xFF);
        AllocationTracker.Allocated(byteCount);
        return new Storage((nint)memory, byteCount, Free);
    }

    /// <inheritdoc/>
    protected override void CopyToDevice(ReadOnlySpan<byte> source, Tensor destination, long byteOffset) =>
        source.CopyTo(new Span<byte>((byte*)destination.Pointer + byteOffset, source.Length));

    /// <inheritdoc/>
    protected override void CopyToHost(Tensor source, long byteOffset, Span<byte> destination) =>
        new ReadOnlySpan<byte>((byte*)source.Pointer + byteOffset, destination.Length).CopyTo(destination);

    private static void Free(Storage storage)
    {
        NativeMemory.AlignedFree((void*)storage.Pointer);
        AllocationTracker.Freed(storage.ByteCount);
    }

    /// <summary>The elements of a float tensor.</summary>
    private static Span<double> Floats(Tensor tensor) => new((void*)tensor.Pointer, checked((int)tensor.ElementCount));

    /// <summary>The elements of an Int32 tensor.</summary>
    private static Span<int> Ints(Tensor tensor) => new((void*)tensor.Pointer, checked((int)tensor.ElementCount));

    /// <summary>A float tensor as a matrix: the last dimension are the columns.</summary>
    private static Matrix Matrix(Tensor tensor) => new(Floats(tensor), checked((int)tensor.Shape[tensor.Shape.Rank - 1]));

    /// <summary>sum over i of a_i b_i.</summary>
    private static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
        {
            sum += a[i] * b[i];
        }

        return sum;
    }

    /// <summary>y_i += alpha x_i.</summary>
    private static void AddScaled(double alpha, ReadOnlySpan<double> x, Span<double> y)
    {
        for (int i = 0; i < x.Length; i++)
        {
            y[i] += alpha * x[i];
        }
    }

    /// <summary>1 / (1 + exp(-x)).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static double Sigmoid(double x) => 1 / (1 + Math.Exp(-x));
}
