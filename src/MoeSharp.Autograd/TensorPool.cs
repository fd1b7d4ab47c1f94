using System.Numerics;
using System.Runtime.InteropServices;
using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Lends tensors from free lists, so that a training step in steady state asks the backend for no memory.</summary>
/// <remarks>
/// <para>The problem: every step needs the same few hundred buffers, and some of them (a residual gradient, a reshaped activation) are
/// looked at by more than one owner. The choice: memory is kept in blocks, one free list per dtype and size class (eight classes per
/// power of two, so at most 12.5 % is wasted and lengths that vary do not grow the pool without end). A lent tensor is a view of a
/// block; the block goes back to its list when the last view of it was returned.</para>
/// <para>A view is disposed when it is returned: any later use throws <see cref="ObjectDisposedException"/> instead of reading
/// somebody else's numbers. Blocks belong to the pool and are made outside of any <see cref="TensorScope"/>. Not thread-safe.</para>
/// </remarks>
public sealed class TensorPool : IDisposable
{
    private const int SmallestClass = 64;
    private readonly Backend _backend;
    private readonly Dictionary<(DType Type, long Size), Stack<Block>> _free = [];
    private readonly Dictionary<Tensor, Block> _lent = new(ReferenceEqualityComparer.Instance);
    private readonly List<Block> _blocks = [];

    /// <summary>Makes an empty pool over a backend's memory.</summary>
    public TensorPool(Backend backend)
    {
        ArgumentNullException.ThrowIfNull(backend);
        _backend = backend;
    }

    /// <summary>Whether lent memory is first filled with NaN (or large negative integers): finds reads of what nobody wrote.</summary>
    public bool Poison { get; set; }

    /// <summary>Tensors that are lent now.</summary>
    public int Lent => _lent.Count;

    /// <summary>Bytes the pool holds, lent and free.</summary>
    public long Bytes => _blocks.Sum(block => block.Memory?.ByteCount ?? 0);

    /// <summary>Bytes that lent tensors have, without what size classes round up; memory with several views counts once, foreign memory does not.</summary>
    public long LentBytes => _lent.Where(pair => pair.Value.Memory is not null).GroupBy(pair => pair.Value).Sum(views => views.Max(view => view.Key.ByteCount));

    /// <summary>Lends a tensor with unspecified content.</summary>
    public Tensor Rent(DType type, params ReadOnlySpan<long> shape)
    {
        var wanted = new Shape(shape);
        (DType, long) key = (type, SizeClass(wanted.ElementCount));
        if (!_free.TryGetValue(key, out Stack<Block>? list))
        {
            _free.Add(key, list = new Stack<Block>());
        }

        if (!list.TryPop(out Block? block))
        {
            using (TensorScope.Suspend())
            {
                block = new Block(_backend.Empty(new Shape(key.Item2), type), list);
            }

            _blocks.Add(block);
        }

        if (Poison)
        {
            PoisonBlock(block.Memory!);
        }

        return Lend(block, block.Memory!, wanted);
    }

    /// <summary>Lends one more view of the same memory in a shape of equal size; the memory may be foreign.</summary>
    /// <exception cref="ArgumentException">The sizes differ.</exception>
    public Tensor Share(Tensor tensor, params ReadOnlySpan<long> shape)
    {
        var wanted = new Shape(shape);
        Guard.That(
            wanted.ElementCount == tensor.ElementCount,
            $"A tensor of shape {tensor.Shape} has {tensor.ElementCount} elements and cannot be seen as {wanted}.");
        Block block = _lent.TryGetValue(tensor, out Block? known) ? known : new Block(null, null);
        return Lend(block, tensor, wanted);
    }

    /// <summary>Whether this pool lent the tensor and did not take it back yet.</summary>
    public bool Owns(Tensor tensor) => _lent.ContainsKey(tensor);

    /// <summary>Whether a tensor is the only view of its memory, so that it may be overwritten.</summary>
    public bool IsExclusive(Tensor tensor) => _lent.TryGetValue(tensor, out Block? block) && block.Memory is not null && block.Views == 1;

    /// <summary>Takes a lent tensor back; it must not be used afterwards.</summary>
    /// <exception cref="ArgumentException">The tensor is not lent by this pool.</exception>
    public void Return(Tensor tensor)
    {
        Guard.That(_lent.Remove(tensor, out Block? block), $"The tensor {tensor} is not lent by this pool.");
        Close(tensor, block!);
    }

    /// <summary>Takes everything back.</summary>
    public void Reset()
    {
        foreach ((Tensor tensor, Block block) in _lent)
        {
            Close(tensor, block);
        }

        _lent.Clear();
    }

    /// <summary>Takes everything back and frees the memory.</summary>
    public void Dispose()
    {
        Reset();
        foreach (Block block in _blocks)
        {
            block.Memory?.Dispose();
        }

        _blocks.Clear();
        _free.Clear();
    }

    private static long SizeClass(long elements)
    {
        if (elements <= SmallestClass)
        {
            return SmallestClass;
        }

        long step = 1L << (BitOperations.Log2((ulong)elements) - 3);
        return checked((elements + step - 1) / step * step);
    }

    private static void Close(Tensor tensor, Block block)
    {
        tensor.Dispose();
        if (--block.Views == 0)
        {
            block.Home?.Push(block);
        }
    }

    private Tensor Lend(Block block, Tensor memory, Shape shape)
    {
        Tensor view;
        if (TensorScope.Current is null)
        {
            view = memory.View(shape);
        }
        else
        {
            using (TensorScope.Suspend())
            {
                view = memory.View(shape);
            }
        }

        block.Views++;
        _lent.Add(view, block);
        return view;
    }

    private void PoisonBlock(Tensor memory)
    {
        if (memory.DType == _backend.FloatType || memory.DType == _backend.WideType)
        {
            _backend.Fill(memory, double.NaN);
        }
        else
        {
            // Every integer type as bytes of 0x80: a large negative number that no index check lets pass.
            byte[] bytes = new byte[checked((int)memory.ByteCount)];
            bytes.AsSpan().Fill(0x80);
            PoisonIntegers(memory, bytes);
        }
    }

    private static void PoisonIntegers(Tensor memory, byte[] bytes)
    {
        switch (memory.DType)
        {
            case DType.Int32: memory.CopyFrom(MemoryMarshal.Cast<byte, int>((ReadOnlySpan<byte>)bytes)); break;
            case DType.Int64: memory.CopyFrom(MemoryMarshal.Cast<byte, long>((ReadOnlySpan<byte>)bytes)); break;
            case DType.UInt8: memory.CopyFrom((ReadOnlySpan<byte>)bytes); break;
            default: break;
        }
    }

    private sealed class Block(Tensor? memory, Stack<Block>? home)
    {
        public Tensor? Memory { get; } = memory;

        public Stack<Block>? Home { get; } = home;

        public int Views { get; set; }
    }
}
