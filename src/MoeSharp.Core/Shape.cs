using System.Collections;

namespace MoeSharp.Core;

/// <summary>Dimensions of a tensor, row-major. Immutable; compares by value; products are checked against overflow.</summary>
public readonly struct Shape : IEquatable<Shape>, IReadOnlyList<long>
{
    private readonly long[]? _dimensions;

    /// <summary>Makes a shape. An empty list is a scalar (one element).</summary>
    /// <exception cref="ArgumentOutOfRangeException">A dimension is negative.</exception>
    /// <exception cref="OverflowException">The element count does not fit 63 bits.</exception>
    public Shape(params ReadOnlySpan<long> dimensions)
    {
        long count = 1;
        bool empty = false;
        foreach (long dimension in dimensions)
        {
            if (dimension < 0)
            {
                throw new ArgumentOutOfRangeException(
                    nameof(dimensions), dimension, $"Dimensions are >= 0, got [{string.Join(", ", dimensions.ToArray())}].");
            }

            empty |= dimension == 0;
            count = checked(count * Math.Max(dimension, 1));
        }

        _dimensions = dimensions.ToArray();
        ElementCount = empty ? 0 : count;
    }

    /// <summary>Number of dimensions; 0 for a scalar.</summary>
    public int Rank => _dimensions?.Length ?? 0;

    /// <summary>Product of the dimensions (1 for a scalar).</summary>
    public long ElementCount { get => _dimensions is null ? 1 : field; }

    int IReadOnlyCollection<long>.Count => Rank;

    /// <summary>The size of a dimension, counted from 0.</summary>
    public long this[int index] => (_dimensions ?? [])[index];

    /// <summary>Value equality.</summary>
    public static bool operator ==(Shape left, Shape right) => left.Equals(right);

    /// <summary>Value inequality.</summary>
    public static bool operator !=(Shape left, Shape right) => !left.Equals(right);

    /// <summary>Bytes needed for this shape with a dtype; checked.</summary>
    /// <exception cref="OverflowException">The size does not fit 63 bits.</exception>
    public long ByteCount(DType type) => checked(ElementCount * type.Size());

    /// <inheritdoc/>
    public bool Equals(Shape other) => (_dimensions ?? []).AsSpan().SequenceEqual(other._dimensions ?? []);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is Shape other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        HashCode hash = default;
        foreach (long dimension in _dimensions ?? [])
        {
            hash.Add(dimension);
        }

        return hash.ToHashCode();
    }

    /// <inheritdoc/>
    public IEnumerator<long> GetEnumerator() => ((IEnumerable<long>)(_dimensions ?? [])).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>Prints as <c>[2, 3]</c>.</summary>
    public override string ToString() => $"[{string.Join(", ", _dimensions ?? [])}]";
}
