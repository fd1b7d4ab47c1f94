using System.Buffers.Binary;
using Iced.Intel;

namespace MoeSharp.Conformance;

/// <summary>Executes x86-64 machine code on a model: integer registers, the zero flag, jumps, memory and tiles.</summary>
/// <remarks>
/// The problem: code for an instruction that this machine lacks is only text until somebody decodes and runs it, and whoever wrote its assembler
/// must not be the one who reads it. The choice: an independent decoder (Iced) says what the bytes are, and this class does it; whatever it does not
/// know is a trap, as are registers that belong to the caller, accesses outside <see cref="AddressSpace"/> and shapes that <see cref="TileUnit"/>
/// refuses. Prefetches do nothing, at any address, as on a processor.
/// </remarks>
internal sealed class CodeInterpreter
{
    /// <summary>More than any routine runs for: a loop that does not end is a trap.</summary>
    private const int MostInstructions = 100_000;

    private readonly Instruction[] _instructions;

    /// <summary>Decodes code from its first to its last byte.</summary>
    public CodeInterpreter(ReadOnlySpan<byte> code)
    {
        _instructions = new Instruction[code.Length];
        var decoder = Iced.Intel.Decoder.Create(64, new ByteArrayCodeReader(code.ToArray()), 0, DecoderOptions.None);
        while (decoder.IP < (ulong)code.Length)
        {
            Instruction instruction = decoder.Decode();
            Listing.Add(instruction);
            _instructions[instruction.IP] = instruction;
        }
    }

    /// <summary>All instructions in their order.</summary>
    public List<Instruction> Listing { get; } = [];

    /// <summary>Calls a routine with one argument and returns when it does.</summary>
    public void Call(int entry, nint argument, TileUnit tiles, AddressSpace memory)
    {
        var state = new State(tiles, memory);
        state[Register.RDI] = argument;
        ulong next = (ulong)entry;
        for (int count = 0; next != Returned; count++)
        {
            Require(count < MostInstructions, $"no return from the routine at {entry:x}");
            Require(next < (ulong)_instructions.Length && _instructions[next].Length > 0, $"no instruction begins at {next:x}");
            next = Step(_instructions[next], state);
        }
    }

    private const ulong Returned = ulong.MaxValue;

    private static ulong Step(in Instruction instruction, State state)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Mov when instruction.Op1Kind == OpKind.Memory && instruction.MemorySize == MemorySize.UInt64:
                state[instruction.Op0Register] = (nint)BinaryPrimitives.ReadInt64LittleEndian(state.Memory.Read(state.Address(instruction), sizeof(long)));
                break;
            case Mnemonic.Mov when instruction.Op1Kind == OpKind.Immediate32 && instruction.Op0Register.IsGPR32():
                state[instruction.Op0Register.GetFullRegister()] = (nint)instruction.Immediate32;
                break;
            case Mnemonic.Add when instruction.Op0Kind == OpKind.Register && instruction.Op1Kind == OpKind.Register:
                state.Result(instruction.Op0Register, state[instruction.Op0Register] + state[instruction.Op1Register]);
                break;
            case Mnemonic.Add when instruction.Op0Kind == OpKind.Register && instruction.Op1Kind == OpKind.Immediate32to64:
                state.Result(instruction.Op0Register, state[instruction.Op0Register] + (nint)instruction.Immediate32to64);
                break;
            case Mnemonic.Dec when instruction.Op0Kind == OpKind.Register:
                state.Result(instruction.Op0Register, state[instruction.Op0Register] - 1);
                break;
            case Mnemonic.Test when instruction.Op0Kind == OpKind.Register && instruction.Op1Kind == OpKind.Register:
                state.IsZero = (state[instruction.Op0Register] & state[instruction.Op1Register]) == 0;
                break;
            case Mnemonic.Jmp:
                return instruction.NearBranchTarget;
            case Mnemonic.Je:
                return state.IsZero ? instruction.NearBranchTarget : instruction.NextIP;
            case Mnemonic.Jne:
                return state.IsZero ? instruction.NextIP : instruction.NearBranchTarget;
            case Mnemonic.Prefetcht0:
                break;
            case Mnemonic.Ldtilecfg:
                state.Tiles.Configure(state.Memory.Read(state.Address(instruction), 64));
                break;
            case Mnemonic.Tilerelease:
                state.Tiles.Release();
                break;
            case Mnemonic.Tilezero:
                state.Tiles.Zero(Tile(instruction.Op0Register));
                break;
            case Mnemonic.Tileloadd:
                state.Tiles.Load(Tile(instruction.Op0Register), state.TileAddress(instruction), state.TileStride(instruction), state.Memory);
                break;
            case Mnemonic.Tilestored:
                state.Tiles.Store(Tile(instruction.Op1Register), state.TileAddress(instruction), state.TileStride(instruction), state.Memory);
                break;
            case Mnemonic.Tdpbf16ps:
                state.Tiles.Multiply(Tile(instruction.Op0Register), Tile(instruction.Op1Register), Tile(instruction.Op2Register));
                break;
            case Mnemonic.Ret when instruction.OpCount == 0:
                return Returned;
            default:
                throw new TileTrapException($"'{instruction}' at {instruction.IP:x} is not modelled.");
        }

        return instruction.NextIP;
    }

    private static int Tile(Register register) => register.IsTMM() ? register - Register.TMM0 : throw new TileTrapException($"{register} is no tile.");

    private static void Require(bool condition, string otherwise)
    {
        if (!condition)
        {
            throw new TileTrapException($"Code: {otherwise}.");
        }
    }

    private sealed class State(TileUnit tiles, AddressSpace memory)
    {
        private readonly nint?[] _registers = new nint?[16];

        public TileUnit Tiles => tiles;

        public AddressSpace Memory => memory;

        /// <summary>The zero flag.</summary>
        public bool IsZero { get; set; }

        /// <summary>A 64-bit register. What nobody has written has no value; what a callee must keep cannot be written.</summary>
        public nint this[Register register]
        {
            get
            {
                Require(register.IsGPR64(), $"{register} is no 64-bit register");
                return _registers[register.GetNumber()] ?? throw new TileTrapException($"Code: {register} is read before it is written.");
            }

            set
            {
                Require(register.IsGPR64(), $"{register} is no 64-bit register");
                Require(register is not (Register.RBX or Register.RSP or Register.RBP or >= Register.R12 and <= Register.R15), $"{register} belongs to the caller");
                _registers[register.GetNumber()] = value;
            }
        }

        /// <summary>Writes a result and its flag.</summary>
        public void Result(Register register, nint value)
        {
            this[register] = value;
            IsZero = value == 0;
        }

        /// <summary>The address of a memory operand.</summary>
        public nint Address(in Instruction instruction) =>
            TileAddress(instruction) + (instruction.MemoryIndex == Register.None ? 0 : TileStride(instruction));

        /// <summary>Base and displacement of a tile's rows.</summary>
        public nint TileAddress(in Instruction instruction)
        {
            Require(instruction.SegmentPrefix == Register.None && instruction.MemoryBase != Register.None, "an address without a base, or with a segment");
            return this[instruction.MemoryBase] + (nint)instruction.MemoryDisplacement64;
        }

        /// <summary>Index and scale: the distance between a tile's rows.</summary>
        public nint TileStride(in Instruction instruction)
        {
            Require(instruction.MemoryIndex != Register.None, "a tile's rows without a distance");
            return this[instruction.MemoryIndex] * instruction.MemoryIndexScale;
        }
    }
}
