using MoeSharp.Core;
using MoeSharp.Cpu;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>One tile of <see cref="TileKernel"/>: its bits are the documented sums, at every height, and a processor with tiles agrees with the model.</summary>
public sealed unsafe class TileKernelTests(BackendPool pool)
{
    private const int Columns = 32;

    private static readonly int[] s_heights = [1, 2, 7, 15, 16, 17, 23, 31, 32];
    private static readonly int[] s_depths = [0, 1, 15, 16, 17, 40];

    private static IEnumerable<Tile> Tiles =>
        from rows in s_heights from depth in s_depths from add in (bool[])[false, true] select new Tile(rows, depth, add);

    [Fact]
    public void Bits_AreTheDocumentedSums()
    {
        foreach (Tile tile in Tiles)
        {
            float[] actual = tile.Run(pool.Tiles.Processor);
            for (int i = 0; i < actual.Length; i++)
            {
                Same(tile, tile.Expected(i / Columns, i % Columns), actual[i]);
            }
        }
    }

    [Fact]
    public void Bits_OfTheProcessor_AreTheModels()
    {
        Assert.SkipWhen(TileProcessor.Native is null, $"here {TileProcessor.Missing}");
        foreach (Tile tile in Tiles)
        {
            float[] expected = tile.Run(pool.Tiles.Processor), actual = tile.Run(TileProcessor.Native!);
            for (int i = 0; i < expected.Length; i++)
            {
                Same(tile, expected[i], actual[i]);
            }
        }
    }

    [Fact]
    public void Products_RunInTiles_AndGiveThemBack()
    {
        Backend backend = pool.Tiles.Poisoned();
        foreach (OpCase op in GemmCases.Large.Where(op => op.Name.Contains("1000", StringComparison.Ordinal)))
        {
            long before = pool.Tiles.Processor.Products;
            op.For(DType.BFloat16).RunOn(backend, Poison.Loud);
            Assert.True(pool.Tiles.Processor.Products > before, $"{op.Name} was multiplied by something else.");
            Assert.Equal(0, pool.Tiles.Processor.Configured);
        }
    }

    private static void Same(Tile tile, float expected, float actual) =>
        Assert.True(
            BitConverter.SingleToInt32Bits(expected) == BitConverter.SingleToInt32Bits(actual) || (float.IsNaN(expected) && float.IsNaN(actual)), $"{tile}: {actual:R} instead of {expected:R}");

    /// <summary>Operands of one tile, packed by hand, among them numbers that are not normal.</summary>
    private sealed class Tile
    {
        private readonly int _rows, _depth, _blocks;
        private readonly bool _add;
        private readonly uint[] _a, _b;
        private readonly float[] _c;

        public Tile(int rows, int depth, bool add)
        {
            (_rows, _depth, _blocks, _add) = (rows, depth, (depth + 15) / 16, add);
            CounterRandom random = Draw.Stream($"tile {rows} {depth} {add}");
            ulong next = 0;

            // What is not there is NaN, which no result may show; zeros fill the last block.
            _a = new uint[_blocks * 16 * 32];
            _b = new uint[_blocks * 16 * Columns];
            _c = new float[rows * Columns];
            Array.Fill(_a, 0xFFFFFFFF);
            for (int step = 0; step < _blocks * 16; step++)
            {
                for (int row = 0; row < rows; row++)
                {
                    _a[A(row, step)] = step < depth ? Pair() : 0;
                }

                for (int column = 0; column < Columns; column++)
                {
                    _b[(step * Columns) + column] = step < depth ? Pair() : 0;
                }
            }

            for (int i = 0; i < _c.Length; i++)
            {
                _c[i] = add ? Number(BitConverter.SingleToUInt32Bits((float)random.Normal(next++)), 16) : float.NaN;
            }

            uint Pair() => Half() | (Half() << 16);
            uint Half() => BitConverter.SingleToUInt32Bits(Number(BitConverter.SingleToUInt32Bits((float)random.Normal(next++)), 0)) >> 16;

            // One in 64 is subnormal, one so small that products are, one in 1024 so large that sums overflow.
            float Number(uint bits, int salt) => random.Below(next++, 1024) switch
            {
                < 16 => BitConverter.UInt32BitsToSingle(bits & 0x807FFFFF),
                < 32 => BitConverter.UInt32BitsToSingle(bits & 0x807FFFFF | 0x20000000),
                33 => BitConverter.UInt32BitsToSingle(bits & 0x807FFFFF | 0x7F000000),
                34 when salt > 0 => float.NegativeInfinity,
                _ => BitConverter.UInt32BitsToSingle(bits),
            };
        }

        public float[] Run(TileProcessor processor)
        {
            float[] c = [.. _c];
            var kernel = new TileKernel(processor, 1);
            fixed (uint* a = _a, b = _b)
            {
                fixed (float* sums = c)
                {
                    kernel.Run(0, _rows, _depth, (float*)a, (float*)b, sums, Columns, Columns / 2, 0, _add);
                    kernel.Release(0);
                }
            }

            return c;
        }

        /// <summary>The sum as <see cref="TileKernel"/> documents it, number by number.</summary>
        public float Expected(int row, int column)
        {
            float sum = _add ? _c[(row * Columns) + column] : 0;
            for (int block = 0; block < _blocks; block++)
            {
                float even = 0, odd = 0;
                for (int step = 16 * block; step < 16 * (block + 1); step++)
                {
                    uint a = _a[A(row, step)], b = _b[(step * Columns) + column];
                    even = Flush(MathF.FusedMultiplyAdd(Widen(a << 16), Widen(b << 16), even));
                    odd = Flush(MathF.FusedMultiplyAdd(Widen(a & 0xFFFF0000), Widen(b & 0xFFFF0000), odd));
                }

                sum = Flush(Flush(sum) + Flush(even + odd));
            }

            return sum;
        }

        public override string ToString() => $"{_rows} rows, {_depth} steps{(_add ? ", added" : string.Empty)}";

        private static int A(int row, int step) => (step / 16 * 32 * 16) + (row * 16) + (step % 16);

        private static float Widen(uint bits) => Flush(BitConverter.UInt32BitsToSingle(bits));

        private static float Flush(float value) => float.IsSubnormal(value) ? MathF.CopySign(0, value) : value;
    }
}
