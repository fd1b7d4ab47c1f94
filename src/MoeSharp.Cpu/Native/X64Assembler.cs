using System.Buffers.Binary;
using System.Numerics;

namespace MoeSharp.Cpu;

/// <summary>A general register of x86-64, by its number.</summary>
internal enum Register
{
    /// <summary>Accumulator.</summary>
    Rax = 0,

    /// <summary>Counter.</summary>
    Rcx = 1,

    /// <summary>Data.</summary>
    Rdx = 2,

    /// <summary>The caller's: <see cref="X64Assembler.Push"/> it first.</summary>
    Rbx = 3,

    /// <summary>Second argument of a call.</summary>
    Rsi = 6,

    /// <summary>First argument of a call.</summary>
    Rdi = 7,

    /// <summary>Free for a callee.</summary>
    R8 = 8,

    /// <summary>Free for a callee.</summary>
    R9 = 9,

    /// <summary>Free for a callee.</summary>
    R10 = 10,

    /// <summary>Free for a callee.</summary>
    R11 = 11,
}

/// <summary>Writes the few x86-64 instructions that the kernels in machine code are made of.</summary>
/// <remarks>
/// The problem: the dot-product and tile instructions for bfloat16 have no intrinsics in this runtime. The choice: an assembler of just the
/// instructions used, each one line with the encoding that the processor manuals print. Displacements have 32 bits, so there is one form to test, and
/// a short one only for vectors, whose instructions fill the kernels. Sources: Intel SDM volume 2 (EVEX and VEX prefixes, 2.6 to 2.7), AMD64 APM volume 4.
/// </remarks>
internal sealed class X64Assembler
{
    private const int Wide = 0x80;
    private const int Broadcasts = 0x10;
    private readonly List<byte> _code = [];

    /// <summary>Bytes so far.</summary>
    public int Position => _code.Count;

    /// <summary>The code.</summary>
    public byte[] ToArray() => [.. _code];

    /// <summary>to = memory[from + offset], 64 bits.</summary>
    public void Load(Register to, Register from, int offset)
    {
        Emit((byte)(0x48 | High(to, 2) | High(from, 0)), 0x8B);
        Memory((int)to, from, offset);
    }

    /// <summary>memory[to + offset] = from, 64 bits.</summary>
    public void Store(Register from, Register to, int offset)
    {
        Emit((byte)(0x48 | High(from, 2) | High(to, 0)), 0x89);
        Memory((int)from, to, offset);
    }

    /// <summary>to += memory[from + offset], 64 bits.</summary>
    public void Add(Register to, Register from, int offset)
    {
        Emit((byte)(0x48 | High(to, 2) | High(from, 0)), 0x03);
        Memory((int)to, from, offset);
    }

    /// <summary>to = from + scale * index. Scale 1, 2, 4 or 8.</summary>
    public void Address(Register to, Register from, Register index, int scale)
    {
        Emit((byte)(0x48 | High(to, 2) | High(index, 1) | High(from, 0)), 0x8D);
        Indexed((int)to, from, index, scale);
    }

    /// <summary>to += from.</summary>
    public void Add(Register to, Register from) => Emit((byte)(0x48 | High(from, 2) | High(to, 0)), 0x01, Direct((int)from, (int)to));

    /// <summary>to += value.</summary>
    public void Add(Register to, int value)
    {
        Emit((byte)(0x48 | High(to, 0)), 0x81, Direct(0, (int)to));
        Number(value);
    }

    /// <summary>Subtracts one and sets the flags.</summary>
    public void Decrement(Register register) => Emit((byte)(0x48 | High(register, 0)), 0xFF, Direct(1, (int)register));

    /// <summary>Sets the zero flag when the register is 0.</summary>
    public void Test(Register register) => Emit((byte)(0x48 | High(register, 2) | High(register, 0)), 0x85, Direct((int)register, (int)register));

    /// <summary>Jumps back when the last result was not 0.</summary>
    public void JumpIfNotZero(int position)
    {
        Emit(0x0F, 0x85);
        Number(position - (Position + 4));
    }

    /// <summary>Jumps forward when the last result was 0; give the value to <see cref="Here"/> at the place.</summary>
    public int JumpIfZero()
    {
        Emit(0x0F, 0x84);
        Number(0);
        return Position;
    }

    /// <summary>Jumps forward; give the value to <see cref="Here"/> at the place.</summary>
    public int Jump()
    {
        Emit(0xE9);
        Number(0);
        return Position;
    }

    /// <summary>The place that a forward jump leads to.</summary>
    public void Here(int jump)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, Position - jump);
        for (int i = 0; i < 4; i++)
        {
            _code[jump - 4 + i] = bytes[i];
        }
    }

    /// <summary>Asks for a cache line in the first-level cache.</summary>
    public void Prefetch(Register from, int offset) => Prefetch(1, from, offset);

    /// <summary>Asks for a cache line in the second-level cache.</summary>
    public void PrefetchSecond(Register from, int offset) => Prefetch(2, from, offset);

    /// <summary>Keeps one of the lower eight registers on the stack.</summary>
    public void Push(Register register) => Emit((byte)(0x50 | (int)register));

    /// <summary>Takes it back.</summary>
    public void Pop(Register register) => Emit((byte)(0x58 | (int)register));

    /// <summary>Returns.</summary>
    public void Return() => Emit(0xC3);

    /// <summary>vector = 0.</summary>
    public void Zero(int vector) => Vector(0x01, 0x01, 0xEF, vector, vector, vector);

    /// <summary>vector = memory, 16 floats: vmovups.</summary>
    public void LoadVector(int vector, Register from, int offset) => Vector(0x01, 0x00, 0x10, vector, 0, from, offset, 64);

    /// <summary>vector = memory[from + scale * index], 16 floats: vmovups. Scale 1, 2, 4 or 8.</summary>
    public void LoadVector(int vector, Register from, Register index, int scale)
    {
        Emit(0x62, (byte)(((~vector & 8) << 4) | ((~(int)index & 8) << 3) | ((~(int)from & 8) << 2) | (~vector & 16) | 1), 0x7C, 0x48, 0x10);
        Indexed(vector, from, index, scale);
    }

    /// <summary>memory = vector, 16 floats: vmovups.</summary>
    public void StoreVector(int vector, Register to, int offset) => Vector(0x01, 0x00, 0x11, vector, 0, to, offset, 64);

    /// <summary>All lanes = one 32-bit number in memory: vbroadcastss.</summary>
    public void Broadcast(int vector, Register from, int offset) => Vector(0x02, 0x01, 0x18, vector, 0, from, offset, 4);

    /// <summary>sum[i] += a[2i] b[2i] + a[2i+1] b[2i+1] over pairs of bfloat16: vdpbf16ps.</summary>
    public void DotPairs(int sum, int a, int b) => Vector(0x02, 0x02, 0x52, sum, a, b);

    /// <summary>The same with one pair of memory for all lanes of b.</summary>
    public void DotPairs(int sum, int a, Register from, int offset) => Vector(0x02, 0x02, 0x52, sum, a, from, offset, 4, Broadcasts);

    /// <summary>sum[i] += a[i] memory, one float for all lanes, rounded once: vfmadd231ps.</summary>
    public void MultiplyAdd(int sum, int a, Register from, int offset) => Vector(0x02, 0x01, 0xB8, sum, a, from, offset, 4, Broadcasts);

    /// <summary>In every quarter to = a0 b0 a1 b1 of 32 bits each: vunpcklps.</summary>
    public void UnpackLow(int to, int a, int b) => Vector(0x01, 0x00, 0x14, to, a, b);

    /// <summary>In every quarter to = a2 b2 a3 b3: vunpckhps.</summary>
    public void UnpackHigh(int to, int a, int b) => Vector(0x01, 0x00, 0x15, to, a, b);

    /// <summary>In every quarter to = a0 b0 of 64 bits each: vunpcklpd.</summary>
    public void UnpackLowPairs(int to, int a, int b) => Vector(0x01, Wide | 0x01, 0x14, to, a, b);

    /// <summary>In every quarter to = a1 b1: vunpckhpd.</summary>
    public void UnpackHighPairs(int to, int a, int b) => Vector(0x01, Wide | 0x01, 0x15, to, a, b);

    /// <summary>Four quarters of 128 bits, two of a and then two of b; two bits of the choice say which: vshuff32x4.</summary>
    public void ShuffleQuarters(int to, int a, int b, byte choice)
    {
        Vector(0x03, 0x01, 0x23, to, a, b);
        Emit(choice);
    }

    /// <summary>register = value, not negative.</summary>
    public void Set(Register register, int value)
    {
        if (register >= Register.R8)
        {
            Emit(0x41);
        }

        Emit((byte)(0xB8 | ((int)register & 7)));
        Number(value);
    }

    /// <summary>Shapes of all tiles = 64 bytes of memory; their content becomes 0: ldtilecfg.</summary>
    public void ConfigureTiles(Register from)
    {
        Emit(0xC4, (byte)(0xC2 | ((~(int)from & 8) << 2)), 0x78, 0x49, (byte)((int)from & 7));
    }

    /// <summary>No tile has a shape, and the thread no state of tiles: tilerelease.</summary>
    public void ReleaseTiles() => Emit(0xC4, 0xE2, 0x78, 0x49, 0xC0);

    /// <summary>tile = 0: tilezero.</summary>
    public void ZeroTile(int tile) => Emit(0xC4, 0xE2, 0x7B, 0x49, Direct(tile, 0));

    /// <summary>Row r of tile = memory[from + offset + r * stride]: tileloadd.</summary>
    public void LoadTile(int tile, Register from, Register stride, int offset) => Tile(3, tile, from, stride, offset);

    /// <summary>memory[to + offset + r * stride] = row r of tile: tilestored.</summary>
    public void StoreTile(int tile, Register to, Register stride, int offset) => Tile(2, tile, to, stride, offset);

    /// <summary>sum += a b, a in rows of pairs of bfloat16 along k, b in rows of pairs along the columns: tdpbf16ps.</summary>
    public void DotTiles(int sum, int a, int b) => Emit(0xC4, 0xE2, (byte)(((~b & 15) << 3) | 2), 0x5C, Direct(sum, a));

    private void Prefetch(int hint, Register from, int offset)
    {
        if (from >= Register.R8)
        {
            Emit(0x41);
        }

        Emit(0x0F, 0x18);
        Memory(hint, from, offset);
    }

    private static int High(Register register, int bit) => (int)register >> 3 << bit;

    private static byte Direct(int register, int other) => (byte)(0xC0 | ((register & 7) << 3) | (other & 7));

    // EVEX with 512 bits, three registers. Map 1 is 0F, 2 is 0F38, 3 is 0F3A; prefix 1 is 66, 2 is F3.
    private void Vector(int map, int prefix, byte opcode, int to, int first, int second)
    {
        Emit(
            0x62,
            (byte)(((~to & 8) << 4) | ((~second & 16) << 2) | ((~second & 8) << 2) | (~to & 16) | map),
            (byte)(((~first & 15) << 3) | 4 | prefix),
            (byte)(0x40 | ((~first & 16) >> 1)),
            opcode,
            Direct(to, second));
    }

    // EVEX with 512 bits and a memory operand; short displacements count in units of the access.
    private void Vector(int map, int prefix, byte opcode, int to, int first, Register from, int offset, int unit, int broadcasts = 0)
    {
        Emit(
            0x62,
            (byte)(((~to & 8) << 4) | 0x40 | ((~(int)from & 8) << 2) | (~to & 16) | map),
            (byte)(((~first & 15) << 3) | 4 | prefix),
            (byte)(0x40 | broadcasts | ((~first & 16) >> 1)),
            opcode);
        if (offset % unit == 0 && offset / unit is >= -128 and < 128)
        {
            Emit((byte)(0x40 | ((to & 7) << 3) | ((int)from & 7)), (byte)(sbyte)(offset / unit));
        }
        else
        {
            Memory(to, from, offset);
        }
    }

    // VEX with a base, an index that is not scaled and a 32-bit displacement. Map 0F38; prefix 2 is F3, 3 is F2.
    private void Tile(int prefix, int tile, Register from, Register stride, int offset)
    {
        Emit(
            0xC4,
            (byte)(0x82 | ((~(int)stride & 8) << 3) | ((~(int)from & 8) << 2)),
            (byte)(0x78 | prefix),
            0x4B,
            (byte)(0x84 | (tile << 3)),
            (byte)((((int)stride & 7) << 3) | ((int)from & 7)));
        Number(offset);
    }

    // A base register and a 32-bit displacement. The stack pointer and its twin R12 would need another byte; neither is in the enum.
    private void Memory(int register, Register from, int offset)
    {
        Emit((byte)(0x80 | ((register & 7) << 3) | ((int)from & 7)));
        Number(offset);
    }

    // A base, a scaled index and a displacement of 0, which a base like RBP could not do without.
    private void Indexed(int register, Register from, Register index, int scale) => Emit(
        (byte)(0x44 | ((register & 7) << 3)), (byte)((BitOperations.Log2((uint)scale) << 6) | (((int)index & 7) << 3) | ((int)from & 7)), 0);

    private void Number(int value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        Emit(bytes);
    }

    private void Emit(params ReadOnlySpan<byte> bytes) => _code.AddRange(bytes);
}
