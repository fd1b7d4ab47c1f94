namespace MoeSharp.Reference;

/// <summary>A view of a float tensor as rows and columns, so that loops read like the formulas they implement.</summary>
internal readonly ref struct Matrix(Span<double> data, int columns)
{
    private readonly Span<double> _data = data;

    /// <summary>Number of columns.</summary>
    public int Columns { get; } = columns;

    /// <summary>Number of rows.</summary>
    public int Rows => Columns == 0 ? 0 : _data.Length / Columns;

    /// <summary>One row.</summary>
    public Span<double> this[int row] => _data.Slice(row * Columns, Columns);

    /// <summary>One element.</summary>
    public ref double this[int row, int column] => ref _data[(row * Columns) + column];

    /// <summary>Matrix number <paramref name="index"/> of a stack of matrices with <paramref name="rows"/> rows each.</summary>
    public Matrix Slab(int index, int rows) => new(_data.Slice(index * rows * Columns, rows * Columns), Columns);
}
