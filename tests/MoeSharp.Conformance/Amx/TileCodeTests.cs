using Iced.Intel;
using MoeSharp.Cpu;
using Xunit;
using Number = MoeSharp.Cpu.Register;
using Register = Iced.Intel.Register;

namespace MoeSharp.Conformance;

/// <summary>The bytes of the kernels for bfloat16: as an independent decoder reads them, and as they ran on a processor that has the instructions.</summary>
public sealed class TileCodeTests
{
    private static readonly Number[] s_registers = Enum.GetValues<Number>();

    /// <summary>Instructions of a prototype that ran on a Sapphire Rapids processor, with the bytes that it had for them.</summary>
    [Fact]
    public void Encodings_AreThoseThatRanOnAProcessor()
    {
        Assert.Equal("C4E2784907", Bytes(code => code.ConfigureTiles(Number.Rdi)));
        Assert.Equal("C4E27849C0", Bytes(code => code.ReleaseTiles()));
        Assert.Equal("C4E27B49C0", Bytes(code => code.ZeroTile(0)));
        Assert.Equal("C4E27B49D8", Bytes(code => code.ZeroTile(3)));
        Assert.Equal("C4E27B4B840A00000000", Bytes(code => code.LoadTile(0, Number.Rdx, Number.Rcx, 0)));
        Assert.Equal("C4C27B4B9C0A40000000", Bytes(code => code.LoadTile(3, Number.R10, Number.Rcx, 64)));
        Assert.Equal("C4E27B4BA40700000000", Bytes(code => code.LoadTile(4, Number.Rdi, Number.Rax, 0)));
        Assert.Equal("C4E27B4BAC0700040000", Bytes(code => code.LoadTile(5, Number.Rdi, Number.Rax, 1024)));
        Assert.Equal("C4E27B4BB40600000000", Bytes(code => code.LoadTile(6, Number.Rsi, Number.Rax, 0)));
        Assert.Equal("C4E27B4BBC0600040000", Bytes(code => code.LoadTile(7, Number.Rsi, Number.Rax, 1024)));
        Assert.Equal("C4E27A4B840A00000000", Bytes(code => code.StoreTile(0, Number.Rdx, Number.Rcx, 0)));
        Assert.Equal("C4C27A4B9C0A40000000", Bytes(code => code.StoreTile(3, Number.R10, Number.Rcx, 64)));
        Assert.Equal("C4E24A5CC4", Bytes(code => code.DotTiles(0, 4, 6)));
        Assert.Equal("C4E2425CCC", Bytes(code => code.DotTiles(1, 4, 7)));
        Assert.Equal("C4E24A5CD5", Bytes(code => code.DotTiles(2, 5, 6)));
        Assert.Equal("C4E2425CDD", Bytes(code => code.DotTiles(3, 5, 7)));
        Assert.Equal("B840000000", Bytes(code => code.Set(Number.Rax, 64)));
        Assert.Equal("0F188F00200000", Bytes(code => code.Prefetch(Number.Rdi, 8192)));
        Assert.Equal("C3", Bytes(code => code.Return()));
    }

    [Fact]
    public void TileAccesses_AreReadAsTheyWereMeant()
    {
        foreach (Number from in s_registers)
        {
            foreach (Number stride in s_registers)
            {
                for (int tile = 0; tile < 8; tile++)
                {
                    int offset = 64 * (tile - 4);
                    Accesses(Only(code => code.LoadTile(tile, from, stride, offset)), Mnemonic.Tileloadd, 0, tile, from, stride, offset);
                    Accesses(Only(code => code.StoreTile(tile, from, stride, offset)), Mnemonic.Tilestored, 1, tile, from, stride, offset);
                }
            }

            Instruction configure = Only(code => code.ConfigureTiles(from));
            Assert.Equal(Mnemonic.Ldtilecfg, configure.Mnemonic);
            Assert.Equal(Of(from), configure.MemoryBase);
            Assert.Equal(0u, configure.MemoryDisplacement32);

            Instruction set = Only(code => code.Set(from, 0x01234567));
            Assert.Equal((Mnemonic.Mov, Of(from), 0x01234567u), (set.Mnemonic, set.Op0Register.GetFullRegister(), set.Immediate32));
        }
    }

    [Fact]
    public void Products_AreReadAsTheyWereMeant()
    {
        for (int a = 0; a < 8; a++)
        {
            Instruction zero = Only(code => code.ZeroTile(a));
            Assert.Equal((Mnemonic.Tilezero, Register.TMM0 + a), (zero.Mnemonic, zero.Op0Register));
            foreach ((int b, int sum) in Enumerable.Range(0, 64).Select(pair => (pair / 8, pair % 8)).Where(pair => pair.Item1 != a && pair.Item2 != a && pair.Item1 != pair.Item2))
            {
                Instruction tiles = Only(code => code.DotTiles(sum, a, b));
                Assert.Equal(
                    (Mnemonic.Tdpbf16ps, Register.TMM0 + sum, Register.TMM0 + a, Register.TMM0 + b), (tiles.Mnemonic, tiles.Op0Register, tiles.Op1Register, tiles.Op2Register));
            }
        }

        for (int a = 0; a < 32; a++)
        {
            for (int b = 0; b < 32; b++)
            {
                int sum = (a + b) % 32;
                Instruction pairs = Only(code => code.DotPairs(sum, a, b));
                Assert.Equal(
                    (Mnemonic.Vdpbf16ps, Register.ZMM0 + sum, Register.ZMM0 + a, Register.ZMM0 + b), (pairs.Mnemonic, pairs.Op0Register, pairs.Op1Register, pairs.Op2Register));
            }
        }
    }

    [Fact]
    public void Exchanges_AreReadAsTheyWereMeant()
    {
        (Mnemonic Mnemonic, Action<X64Assembler, int, int, int> Write)[] exchanges =
        [
            (Mnemonic.Vunpcklps, (code, to, a, b) => code.UnpackLow(to, a, b)), (Mnemonic.Vunpckhps, (code, to, a, b) => code.UnpackHigh(to, a, b)),
            (Mnemonic.Vunpcklpd, (code, to, a, b) => code.UnpackLowPairs(to, a, b)), (Mnemonic.Vunpckhpd, (code, to, a, b) => code.UnpackHighPairs(to, a, b)),
            (Mnemonic.Vshuff32x4, (code, to, a, b) => code.ShuffleQuarters(to, a, b, 0xDD)),
        ];
        for (int i = 0; i < 32 * 32; i++)
        {
            (int to, int a, int b) = ((i + (i / 32)) % 32, i % 32, i / 32);
            foreach ((Mnemonic mnemonic, Action<X64Assembler, int, int, int> write) in exchanges)
            {
                Instruction exchange = Only(code => write(code, to, a, b));
                Assert.Equal(
                    (mnemonic, Register.ZMM0 + to, Register.ZMM0 + a, Register.ZMM0 + b), (exchange.Mnemonic, exchange.Op0Register, exchange.Op1Register, exchange.Op2Register));
                Assert.Equal(mnemonic == Mnemonic.Vshuff32x4 ? 0xDD : 0, exchange.Immediate8);
            }
        }
    }

    [Fact]
    public void VectorsOfMemory_AreReadAsTheyWereMeant()
    {
        foreach (Number from in s_registers)
        {
            for (int vector = 0; vector < 32; vector++)
            {
                foreach (Number index in s_registers)
                {
                    foreach (int scale in (int[])[1, 2, 4, 8])
                    {
                        Instruction load = Only(code => code.LoadVector(vector, from, index, scale));
                        Assert.Equal((Mnemonic.Vmovups, Register.ZMM0 + vector, 0UL), (load.Mnemonic, load.Op0Register, load.MemoryDisplacement64));
                        Assert.Equal((Of(from), Of(index), scale), (load.MemoryBase, load.MemoryIndex, load.MemoryIndexScale));
                        Instruction address = Only(code => code.Address(Number.R9, from, index, scale));
                        Assert.Equal((Mnemonic.Lea, Register.R9, 0UL), (address.Mnemonic, address.Op0Register, address.MemoryDisplacement64));
                        Assert.Equal((Of(from), Of(index), scale), (address.MemoryBase, address.MemoryIndex, address.MemoryIndexScale));
                    }
                }

                foreach (int offset in (int[])[0, 4, 508, 512, 2048])
                {
                    Broadcast(Only(code => code.MultiplyAdd(vector, 31 - vector, from, offset)), Mnemonic.Vfmadd231ps, vector, from, offset);
                    Broadcast(Only(code => code.DotPairs(vector, 31 - vector, from, offset)), Mnemonic.Vdpbf16ps, vector, from, offset);
                }
            }

            Instruction store = Only(code => code.Store(from, Number.R11, 24)), add = Only(code => code.Add(from, Number.Rdi, 24));
            Assert.Equal((Mnemonic.Mov, Of(from), Register.R11, 24u), (store.Mnemonic, store.Op1Register, store.MemoryBase, store.MemoryDisplacement32));
            Assert.Equal((Mnemonic.Add, Of(from), Register.RDI, 24u), (add.Mnemonic, add.Op0Register, add.MemoryBase, add.MemoryDisplacement32));
        }

        static void Broadcast(in Instruction instruction, Mnemonic mnemonic, int vector, Number from, int offset)
        {
            Assert.True(instruction.IsBroadcast);
            Assert.Equal((mnemonic, Register.ZMM0 + vector, Register.ZMM31 - vector), (instruction.Mnemonic, instruction.Op0Register, instruction.Op1Register));
            Assert.Equal((Of(from), offset), (instruction.MemoryBase, (int)instruction.MemoryDisplacement64));
        }
    }

    [Fact]
    public void Code_IsMadeOfKnownInstructions_AndKeepsTheCallersRegisters()
    {
        Mnemonic[] known =
        [
            Mnemonic.Mov, Mnemonic.Add, Mnemonic.Dec, Mnemonic.Test, Mnemonic.Je, Mnemonic.Jne, Mnemonic.Jmp, Mnemonic.Prefetcht0, Mnemonic.Ret, Mnemonic.Int3,
            Mnemonic.Ldtilecfg, Mnemonic.Tilerelease, Mnemonic.Tilezero, Mnemonic.Tileloadd, Mnemonic.Tilestored, Mnemonic.Tdpbf16ps,
        ];
        List<Instruction> listing = new CodeInterpreter(TileKernel.Code).Listing;
        Assert.Equal(known.Order(), listing.Select(instruction => instruction.Mnemonic).Distinct().Order());
        Assert.Equal(4, listing.Count(instruction => instruction.Mnemonic == Mnemonic.Ret));
        Assert.DoesNotContain(listing, instruction => instruction.Op0Register.GetFullRegister() is Register.RBX or Register.RSP or Register.RBP or >= Register.R12 and <= Register.R15);
        Assert.All(
            [TileKernel.ConfigureEntry, TileKernel.ReleaseEntry, TileKernel.LowEntry, TileKernel.HighEntry],
            entry => Assert.True(entry % 64 == 0 && listing.Any(instruction => (int)instruction.IP == entry)));
    }

    private static void Accesses(in Instruction instruction, Mnemonic mnemonic, int operand, int tile, Number from, Number stride, int offset)
    {
        Assert.Equal((mnemonic, Register.TMM0 + tile), (instruction.Mnemonic, instruction.GetOpRegister(operand)));
        Assert.Equal((Of(from), Of(stride), 1), (instruction.MemoryBase, instruction.MemoryIndex, instruction.MemoryIndexScale));
        Assert.Equal(offset, (long)instruction.MemoryDisplacement64);
    }

    private static Register Of(Number register) => Register.RAX + (int)register;

    private static string Bytes(Action<X64Assembler> write) => Convert.ToHexString(Assembled(write));

    private static Instruction Only(Action<X64Assembler> write) => Assert.Single(new CodeInterpreter(Assembled(write)).Listing);

    private static byte[] Assembled(Action<X64Assembler> write)
    {
        var code = new X64Assembler();
        write(code);
        return code.ToArray();
    }
}
