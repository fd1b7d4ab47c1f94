using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Cpu;

/// <summary>A tile of up to 14 rows and 16 columns that reads the columns as they are stored, along k, and transposes them in registers.</summary>
/// <remarks>
/// <para>The problem: weights lie along k, vectors of the kernels run across columns. Packing them first costs as much as multiplying fourteen rows, and
/// with one row (decoding) it halves what memory could deliver. Dot products along k would need no packing, but they sum in another order.</para>
/// <para>The choice: sixteen lines of sixteen numbers are loaded, transposed by 64 shuffles, which other units of the processor carry out than
/// multiply-adds, and multiplied at once. The chain of sums ascends in k as everywhere, so the bits are those of <see cref="MicroKernel"/> and
/// <see cref="DotKernel"/>. What was transposed can be stored as a packed tile on the way, for the rows that follow. The lines that come next
/// are asked for in the order in which they lie in memory: one line's <see cref="GemmWorkspace.Depth"/> steps with every sixteen steps.</para>
/// <para>Why machine code: sixteen transposed vectors and fourteen sums leave two registers, and there is no intrinsic for pairs of bfloat16; one text
/// serves both types. Against packing, in turns, in bench/peers/cpu on an AMD EPYC with AVX-512: layers of one token 1.4 to 2.1 times as fast, of
/// 30 to 60 rows per expert forward 1.15 to 1.25 times, of 128 and 256 rows 1.05 to 1.1 times. Requests into the second-level cache
/// as well, as the other kernels make them, and the last half of the shuffles between the multiply-adds brought nothing.</para>
/// </remarks>
internal static unsafe class LineKernel
{
    /// <summary>Steps that are transposed at a time, and columns.</summary>
    public const int Side = 16;

    private const int LineBytes = GemmWorkspace.Depth * sizeof(float);
    private const int TileBytes = 2 * Side * sizeof(float);
    private static readonly nint[] s_entries = IsHere() ? Assemble() : [];

    /// <summary>Whether this processor has 512-bit vectors and the system lets this process have code of its own.</summary>
    public static bool IsSupported => s_entries.Length > 0;

    /// <summary>c[i, j] = or += sum over k of a[k, i] lines[j, k], 16 columns j; a number is a float32 or a pair of bfloat16.</summary>
    /// <param name="pairs">Numbers are pairs; needs <see cref="DotKernel.IsSupported"/>.</param>
    /// <param name="rows">Tile height, 1 to 14.</param>
    /// <param name="depth">Numbers along k, a multiple of <see cref="Side"/> above 0.</param>
    /// <param name="a">Packed [depth][rows].</param>
    /// <param name="lines">First of 16 lines.</param>
    /// <param name="lineStride">Bytes from one line to the next.</param>
    /// <param name="c">First sum.</param>
    /// <param name="stride">Distance between rows of c, in floats.</param>
    /// <param name="add">Start from c instead of zero.</param>
    /// <param name="packed">Half of a packed tile to write [depth][2 vectors], or null.</param>
    /// <param name="following">First of the lines that come next, or null.</param>
    public static void Run(
        bool pairs, int rows, nint depth, float* a, void* lines, nint lineStride, float* c, nint stride, bool add, float* packed, void* following)
    {
        var call = new Call
        {
            Blocks = depth / Side,
            A = a,
            Line0 = (byte*)lines,
            Line4 = (byte*)lines + (4 * lineStride),
            Line8 = (byte*)lines + (8 * lineStride),
            Line12 = (byte*)lines + (12 * lineStride),
            LineStride = lineStride,
            C = c,
            Stride = stride * sizeof(float),
            Add = add ? 1 : 0,
            Packed = packed,
            Following = following == null ? (byte*)a : (byte*)following,
            FollowingStep = following == null ? 0 : lineStride,
        };
        ((delegate* unmanaged[SuppressGCTransition]<Call*, void>)s_entries[Index(pairs, rows, packed != null)])(&call);
    }

    /// <summary>The code for one tile height.</summary>
    internal static byte[] Code(bool pairs, int rows, bool packs)
    {
        var code = new X64Assembler();
        (Register a, Register stride, Register triple, Register free) = (Register.Rsi, Register.Rcx, Register.R11, Register.Rax);
        Register following = Register.Rbx;
        Register[] lines = [Register.Rdx, Register.R8, Register.R9, Register.R10];

        code.Push(following);
        code.Load(free, Register.Rdi, Offset(nameof(Call.Add)));
        code.Test(free);
        int toZero = code.JumpIfZero();
        Sums(code, rows, code.LoadVector);
        int toLoop = code.Jump();
        code.Here(toZero);
        for (int row = 0; row < rows; row++)
        {
            code.Zero(row);
        }

        code.Here(toLoop);
        code.Load(a, Register.Rdi, Offset(nameof(Call.A)));
        code.Load(stride, Register.Rdi, Offset(nameof(Call.LineStride)));
        code.Load(triple, Register.Rdi, Offset(nameof(Call.LineStride)));
        code.Add(triple, stride);
        code.Add(triple, stride);
        string[] names = [nameof(Call.Line0), nameof(Call.Line4), nameof(Call.Line8), nameof(Call.Line12)];
        for (int i = 0; i < 4; i++)
        {
            code.Load(lines[i], Register.Rdi, Offset(names[i]));
        }

        code.Load(following, Register.Rdi, Offset(nameof(Call.Following)));
        int top = code.Position;
        var square = new RegisterSquare(code, rows);
        for (int i = 0; i < Side; i += 4)
        {
            square.Load(i, lines[i / 4], stride, triple);
            code.Add(lines[i / 4], Side * sizeof(float));
        }

        square.Transpose();
        if (packs)
        {
            code.Load(free, Register.Rdi, Offset(nameof(Call.Packed)));
        }

        for (int k = 0; k < Side; k++)
        {
            int vector = square[k];
            code.Prefetch(following, k * LineBytes / Side);
            if (packs)
            {
                code.StoreVector(vector, free, k * TileBytes);
            }

            for (int row = 0; row < rows; row++)
            {
                int offset = sizeof(float) * ((k * rows) + row);
                if (pairs)
                {
                    code.DotPairs(row, vector, a, offset);
                }
                else
                {
                    code.MultiplyAdd(row, vector, a, offset);
                }
            }
        }

        if (packs)
        {
            code.Add(free, Side * TileBytes);
            code.Store(free, Register.Rdi, Offset(nameof(Call.Packed)));
        }

        code.Add(following, Register.Rdi, Offset(nameof(Call.FollowingStep)));
        code.Add(a, Side * sizeof(float) * rows);
        code.Load(free, Register.Rdi, Offset(nameof(Call.Blocks)));
        code.Decrement(free);
        code.Store(free, Register.Rdi, Offset(nameof(Call.Blocks)));
        code.JumpIfNotZero(top);
        Sums(code, rows, code.StoreVector);
        code.Pop(following);
        code.Return();
        return code.ToArray();
    }

    private static void Sums(X64Assembler code, int rows, Action<int, Register, int> transfer)
    {
        code.Load(Register.Rax, Register.Rdi, Offset(nameof(Call.C)));
        for (int row = 0; row < rows; row++)
        {
            transfer(row, Register.Rax, 0);
            code.Add(Register.Rax, Register.Rdi, Offset(nameof(Call.Stride)));
        }
    }

    private static int Index(bool pairs, int rows, bool packs) => (((pairs ? 1 : 0) + (packs ? 2 : 0)) * (MicroKernel.MaxRows + 1)) + rows;

    private static int Offset(string field) => (int)Marshal.OffsetOf<Call>(field);

    private static bool IsHere() => Vector512.IsHardwareAccelerated && Avx512F.IsSupported;

    private static nint[] Assemble()
    {
        var entries = new nint[4 * (MicroKernel.MaxRows + 1)];
        var all = new List<byte>();
        foreach (bool pairs in DotKernel.IsSupported ? [false, true] : new[] { false })
        {
            foreach (bool packs in new[] { false, true })
            {
                for (int rows = 1; rows <= MicroKernel.MaxRows; rows++)
                {
                    all.AddRange(Enumerable.Repeat((byte)0xCC, -all.Count & 63));
                    entries[Index(pairs, rows, packs)] = all.Count;
                    all.AddRange(Code(pairs, rows, packs));
                }
            }
        }

        nint memory = ExecutablePage.Create([.. all]);
        return memory == 0 ? [] : [.. entries.Select(entry => entry + memory)];
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Call
    {
        public nint Blocks;
        public float* A;
        public byte* Line0;
        public byte* Line4;
        public byte* Line8;
        public byte* Line12;
        public nint LineStride;
        public float* C;
        public nint Stride;
        public nint Add;
        public float* Packed;
        public byte* Following;
        public nint FollowingStep;
    }
}
