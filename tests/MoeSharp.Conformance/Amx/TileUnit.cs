using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Conformance;

/// <summary>A model of the tile registers and of the instructions on them that the kernel for bfloat16 uses.</summary>
/// <remarks>
/// <para>What comes from where. Layout of shapes, palette 1 (eight tiles of at most 16 rows of 64 bytes), clearing on configuration: Intel SDM volume 2,
/// LDTILECFG, and volume 1, 18. Rows beyond a tile's height and bytes beyond its width are zeroed by every write: the pseudo-code of TILELOADD and
/// TDPBF16PS. Which shapes are refused: the exception classes AMX-E1 to AMX-E6 in volume 2, 2.10. Products: the pseudo-code of TDPBF16PS,
/// two chains of fused multiply-adds over ascending k, one of the even and one of the odd members of pairs, then their sum, then the sum with the
/// destination, each rounded to nearest even, subnormal operands and results being zeros of their sign; no flags, no exceptions.</para>
/// <para>What the manual leaves open and the model takes: a result counts as subnormal after it is rounded; a NaN is some quiet NaN.
/// Interrupted loads (start_row) are not modelled: a shape with one is refused.</para>
/// </remarks>
internal sealed class TileUnit
{
    private const int Tiles = 8;
    private const int MaxRows = 16;
    private const int RowBytes = 64;

    private readonly byte[] _data = new byte[Tiles * MaxRows * RowBytes];
    private readonly int[] _rows = new int[Tiles];
    private readonly int[] _bytes = new int[Tiles];

    /// <summary>Whether tiles have shapes.</summary>
    public bool IsConfigured { get; private set; }

    /// <summary>Products so far.</summary>
    public long Products { get; private set; }

    /// <summary>ldtilecfg.</summary>
    public void Configure(ReadOnlySpan<byte> shapes)
    {
        Release();
        if (shapes[0] == 0)
        {
            return;
        }

        Require(shapes[0] == 1, $"palette {shapes[0]} does not exist");
        Require(shapes[1..16].IndexOfAnyExcept((byte)0) < 0, "a byte of 1..15 is not 0");
        Require(shapes[32..48].IndexOfAnyExcept((byte)0) < 0 && shapes[56..64].IndexOfAnyExcept((byte)0) < 0, "a tile beyond the eighth has a shape");
        for (int tile = 0; tile < Tiles; tile++)
        {
            int bytes = BinaryPrimitives.ReadUInt16LittleEndian(shapes[(16 + (2 * tile))..]), rows = shapes[48 + tile];
            Require(bytes <= RowBytes && rows <= MaxRows && (bytes == 0) == (rows == 0), $"tile {tile} of {rows} rows of {bytes} bytes");
            (_rows[tile], _bytes[tile]) = (rows, bytes);
        }

        IsConfigured = true;
    }

    /// <summary>tilerelease.</summary>
    public void Release()
    {
        IsConfigured = false;
        Array.Clear(_rows);
        Array.Clear(_bytes);
        Array.Clear(_data);
    }

    /// <summary>tilezero.</summary>
    public void Zero(int tile)
    {
        RequireShape(tile);
        Data(tile).Clear();
    }

    /// <summary>tileloadd.</summary>
    public void Load(int tile, nint address, nint stride, AddressSpace memory)
    {
        Zero(tile);
        for (int row = 0; row < _rows[tile]; row++)
        {
            memory.Read(address + (row * stride), _bytes[tile]).CopyTo(Data(tile)[(row * RowBytes)..]);
        }
    }

    /// <summary>tilestored.</summary>
    public void Store(int tile, nint address, nint stride, AddressSpace memory)
    {
        RequireShape(tile);
        for (int row = 0; row < _rows[tile]; row++)
        {
            Data(tile).Slice(row * RowBytes, _bytes[tile]).CopyTo(memory.Write(address + (row * stride), _bytes[tile]));
        }
    }

    /// <summary>tdpbf16ps.</summary>
    public void Multiply(int sum, int a, int b)
    {
        RequireShape(sum);
        RequireShape(a);
        RequireShape(b);
        Require(sum != a && sum != b && a != b, "the same tile twice");
        Require(_bytes[sum] % 4 == 0 && _bytes[a] % 4 == 0 && _bytes[b] % 4 == 0, "rows that are no whole pairs");
        Require(_rows[sum] == _rows[a] && _bytes[sum] == _bytes[b] && _bytes[a] / 4 == _rows[b], "shapes that do not fit");
        Products++;

        int pairs = _rows[b];
        Span<Vector512<float>> even = stackalloc Vector512<float>[MaxRows], odd = stackalloc Vector512<float>[MaxRows];
        for (int k = 0; k < pairs; k++)
        {
            Vector512<uint> line = Vector512.Create(MemoryMarshal.Cast<byte, uint>(Data(b).Slice(k * RowBytes, RowBytes)));
            even[k] = Lower(line);
            odd[k] = Upper(line);
        }

        Vector512<uint> columns = Vector512.LessThan(Vector512<uint>.Indices, Vector512.Create((uint)_bytes[sum] / 4));
        for (int m = 0; m < _rows[sum]; m++)
        {
            ReadOnlySpan<uint> row = MemoryMarshal.Cast<byte, uint>(Data(a).Slice(m * RowBytes, RowBytes));
            Vector512<float> evens = default, odds = default;
            for (int k = 0; k < pairs; k++)
            {
                evens = Flush(Vector512.FusedMultiplyAdd(Lower(Vector512.Create(row[k])), even[k], evens));
                odds = Flush(Vector512.FusedMultiplyAdd(Upper(Vector512.Create(row[k])), odd[k], odds));
            }

            Span<float> target = MemoryMarshal.Cast<byte, float>(Data(sum).Slice(m * RowBytes, RowBytes));
            Vector512<float> result = Flush(Flush(Vector512.Create<float>(target)) + Flush(evens + odds));
            (result.AsUInt32() & columns).AsSingle().CopyTo(target);
        }
    }

    // A bfloat16 is the upper half of a float32; subnormal ones count as zeros.
    private static Vector512<float> Lower(Vector512<uint> pairs) => Flush((pairs << 16).AsSingle());

    private static Vector512<float> Upper(Vector512<uint> pairs) => Flush((pairs & Vector512.Create(0xFFFF0000u)).AsSingle());

    private static Vector512<float> Flush(Vector512<float> value)
    {
        Vector512<float> small = Vector512.LessThan(Vector512.Abs(value), Vector512.Create(1.17549435e-38f));
        return Vector512.ConditionalSelect(small, value & Vector512.Create(-0f), value);
    }

    private static void Require(bool condition, string otherwise)
    {
        if (!condition)
        {
            throw new TileTrapException($"Tiles: {otherwise}.");
        }
    }

    private Span<byte> Data(int tile) => _data.AsSpan(tile * MaxRows * RowBytes, MaxRows * RowBytes);

    private void RequireShape(int tile) => Require(IsConfigured && _rows[tile] > 0, $"tile {tile} has no shape");
}
