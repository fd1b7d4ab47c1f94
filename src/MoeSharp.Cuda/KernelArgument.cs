using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <summary>One kernel argument: its bits and its size.</summary>
internal readonly record struct KernelArgument(ulong Bits, int Bytes, Tensor? Tensor = null)
{
    public static implicit operator KernelArgument(Tensor? tensor) => new((ulong)(tensor?.Pointer ?? 0), 8, tensor);

    public static implicit operator KernelArgument(nint pointer) => new((ulong)pointer, 8);

    public static implicit operator KernelArgument(int value) => new((uint)value, 4);

    public static implicit operator KernelArgument(uint value) => new(value, 4);

    public static implicit operator KernelArgument(long value) => new((ulong)value, 8);

    public static implicit operator KernelArgument(float value) => new(BitConverter.SingleToUInt32Bits(value), 4);
}
