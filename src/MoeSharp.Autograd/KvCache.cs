using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>Keys and values of one sequence, for generation. Rows are appended; attention reads keys 0..Length.</summary>
/// <remarks>Batch 1. Keys are stored after norm and rotation, so an appended row never changes. Not thread-safe.</remarks>
public sealed class KvCache : IDisposable
{
    /// <summary>Allocates a cache.</summary>
    /// <param name="backend">Where it lives.</param>
    /// <param name="capacity">Most rows.</param>
    /// <param name="width">Columns: key/value heads * head width.</param>
    public KvCache(Backend backend, int capacity, int width)
    {
        Guard.That(capacity >= 1 && width >= 1, $"A cache needs at least 1 row and 1 column, got {capacity} x {width}.");
        Capacity = capacity;
        Width = width;
        using (TensorScope.Suspend())
        {
            Keys = backend.Empty(capacity, width);
            Values = backend.Empty(capacity, width);
        }
    }

    /// <summary>Most rows.</summary>
    public int Capacity { get; }

    /// <summary>Columns.</summary>
    public int Width { get; }

    /// <summary>Rows that are valid.</summary>
    public int Length { get; private set; }

    /// <summary>[Capacity, Width]; rows from <see cref="Length"/> on are unspecified.</summary>
    public Tensor Keys { get; }

    /// <summary>[Capacity, Width]; rows from <see cref="Length"/> on are unspecified.</summary>
    public Tensor Values { get; }

    /// <summary>Copies rows behind the valid ones, on the device.</summary>
    /// <param name="keys">[rows, Width].</param>
    /// <param name="values">[rows, Width].</param>
    /// <exception cref="InvalidOperationException">The cache is full.</exception>
    public void Append(Tensor keys, Tensor values)
    {
        Guard.Is(keys, Keys.DType, [keys.Shape[0], Width]);
        Guard.Is(values, Values.DType, [keys.Shape[0], Width]);
        int rows = checked((int)keys.Shape[0]);
        if (rows > Capacity - Length)
        {
            throw new InvalidOperationException(
                $"The cache holds {Length} of {Capacity} rows and cannot take {rows} more; clear it or make a larger one.");
        }

        Copy(keys, Keys);
        Copy(values, Values);
        Length += rows;
    }

    /// <summary>Forgets all rows.</summary>
    public void Clear() => Length = 0;

    /// <summary>Frees the cache.</summary>
    public void Dispose()
    {
        Keys.Dispose();
        Values.Dispose();
    }

    private void Copy(Tensor rows, Tensor store)
    {
        using Tensor place = store.View(rows.Shape, (long)Length * Width);
        store.Backend.Scale(rows, 1, place);
    }
}
