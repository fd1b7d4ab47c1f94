using MoeSharp.Cpu;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>The model of tiles refuses what a processor would, and what a kernel must not do: otherwise it would prove nothing.</summary>
public sealed unsafe class TileTrapTests
{
    [Theory]
    [InlineData(0, 2, "palette")]
    [InlineData(1, 1, "1..15")]
    [InlineData(40, 1, "eighth")]
    [InlineData(60, 1, "eighth")]
    [InlineData(16, 65, "65 bytes")]
    [InlineData(48, 17, "17 rows")]
    [InlineData(48, 0, "0 rows")]
    [InlineData(18, 0, "0 bytes")]
    public void Shapes_ThatAProcessorRefuses(int index, byte value, string why)
    {
        byte[] shapes = Shapes();
        shapes[index] = value;
        Traps(why, () => new TileUnit().Configure(shapes));
        new TileUnit().Configure(Shapes());
    }

    [Fact]
    public void Products_OfTilesThatDoNotFit()
    {
        var unit = new TileUnit();
        Traps("no shape", () => unit.Multiply(0, 1, 2));
        Traps("no shape", () => unit.Zero(0));
        byte[] shapes = Shapes();
        shapes[48 + 3] = 15; // a tile of 15 rows
        (shapes[48 + 4], shapes[16 + 8]) = (0, 0); // one without
        unit.Configure(shapes);
        Traps("no shape", () => unit.Multiply(0, 1, 4));
        Traps("twice", () => unit.Multiply(0, 1, 1));
        Traps("not fit", () => unit.Multiply(0, 3, 2));
        Traps("not fit", () => unit.Multiply(0, 1, 3));
        unit.Multiply(0, 1, 2);
        unit.Release();
        Traps("no shape", () => unit.Multiply(0, 1, 2));
    }

    [Fact]
    public void Accesses_OutsideTheirMemory()
    {
        byte* bytes = stackalloc byte[16 * 64];
        new Span<byte>(bytes, 16 * 64).Clear();
        var unit = new TileUnit();
        unit.Configure(Shapes());
        var memory = new AddressSpace();
        memory.Allow(bytes, (16 * 64) - 1, read: true, write: true);
        var address = (nint)bytes;
        Traps("must not be read", () => unit.Load(0, address, 64, memory));
        Traps("must not be written", () => unit.Store(0, address, 64, memory));
        memory.Allow(bytes, 16 * 64, read: true);
        unit.Load(0, address, 64, memory);
        Traps("must not be written", () => unit.Store(0, address, 64, memory));
        Traps("must not be read", () => unit.Load(0, address - 64, 64, memory));
    }

    [Theory]
    [InlineData("BB01000000C3", "belongs to the caller")] // mov ebx, 1
    [InlineData("4801C8C3", "before it is written")] // add rax, rcx
    [InlineData("488B07C3", "must not be read")] // mov rax, [rdi]
    [InlineData("0F0B", "not modelled")] // ud2
    [InlineData("EBFE", "no return")] // jmp to itself
    [InlineData("EB01C3", "no instruction begins")] // jmp behind the end
    [InlineData("C4E24A5CC4C3", "no shape")] // tdpbf16ps
    public void Code_ThatAKernelMustNotHave(string bytes, string why)
    {
        var code = new CodeInterpreter(Convert.FromHexString(bytes));
        Traps(why, () => code.Call(0, 4096, new TileUnit(), new AddressSpace()));
    }

    [Fact]
    public void Kernel_ThatIsToldOfSumsInTheWrongPlace()
    {
        using var processor = new InterpretedTiles();
        float[] floats = new float[4096];
        fixed (float* p = floats)
        {
            float* memory = p;
            var product = new TileKernel.Product { Rows = 17, Stride = 128, UpperLeft = memory, UpperRight = memory + 16, LowerLeft = memory + (16 * 32), LowerRight = memory + (16 * 32) + 16 };
            var kernel = new TileKernel(processor, 1);
            kernel.Run(0, 17, 0, memory, memory, memory, 32, 16, 0, false);
            processor.Call(TileKernel.HighEntry, &product);
            product.LowerRight += 32; // a row too far
            TileKernel.Product* wrong = &product;
            Traps("must not be written", () => processor.Call(TileKernel.HighEntry, wrong));
        }
    }

    private static void Traps(string why, Action action) => Assert.Contains(why, Assert.Throws<TileTrapException>(action).Message, StringComparison.Ordinal);

    // Eight whole tiles.
    private static byte[] Shapes()
    {
        byte[] shapes = new byte[64];
        shapes[0] = 1;
        for (int tile = 0; tile < 8; tile++)
        {
            shapes[16 + (2 * tile)] = 64;
            shapes[48 + tile] = 16;
        }

        return shapes;
    }
}
