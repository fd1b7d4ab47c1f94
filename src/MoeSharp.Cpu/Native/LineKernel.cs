using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Cpu;

/// <summary>A tile of up to 14 rows and 16 columns that reads the columns as they are stored, along k, and transposes them in registers.</summary>
/// <remarks>
/// <para>The problem: weights lie along k, vectors of the kernels run across columns. Packing them first is work that only many rows make up for, and
/// with one row (decoding) it halves what memory could deliver. Dot products along k would need no packing, but they sum in another order.</para>
/// <para>The choice: sixteen lines of sixteen numbers are loaded, transposed by 64 shuffles, which other units of the processor carry out than
/// multiply-adds, and multiplied at once. The chain of sums ascends in k as everywhere, so the bits are those of <see cref="MicroKernel"/> and
/// <see cref="DotKernel"/>. What was transposed can be stored as a packed tile on the way, for the rows that follow. The lines that come next
/// are asked for in the order in which they lie in memory: one line's <see cref="GemmWorkspace.Depth"/> steps with every sixteen steps.</para>
/// <para>Why machine code: sixteen transposed vectors and fourteen sums leave two registers, and there is no intrinsic for pairs of bfloat16; one text
/// serves both types. Against packing, in turns, on the layers of bench/peers/cpu and an AMD EPYC with AVX-512: one token 1.3 to 2.1 times as fast, about 30
/// rows per expert forward (A and B at rho = 0.25) 1.16 to 1.25 times, 128 rows 1.05 to 1.07 times. Requests into the second-level cache
/// as well, as the other kernels make them, the last half of the shuffles between the multiply-adds, and reading and transposing the next eight steps while
/// eight are multiplied brought nothing; asking for whole lines, which is one run of memory, was a loss.</para>
/// <para>A few rows of pairs are multiplied by both vectors of columns at a time, because their sums wait for each other: one token of layers that lie in
/// caches 1.3 to 1.5 times as fast, from memory 0.9 to 1.05 times on two threads and 0.8 to 0.95 on one. With float32, 1.08 times from caches and 0.87 to 0.99
/// times from memory were measured, so there it is not done.</para>
/// </remarks>
internal static unsafe class LineKernel
{
    /// <summary>Steps that are transposed at a time, and columns.</summary>
    public const int Side = 16;

    private const int TileBytes = 2 * Side * sizeof(float);
    private static readonly nint[] s_entries = IsHere() ? Assemble() : [];

    /// <summary>Whether this processor has 512-bit vectors and the system lets this process have code of its own.</summary>
    public static bool IsSupported => s_entries.Length > 0;

    /// <summary>c[i, j] = or += sum over k of a[k, i] lines[j, k], two vectors of 16 columns j; a number is a float32 or a pair of bfloat16.</summary>
    /// <param name="pairs">Numbers are pairs; needs <see cref="DotKernel.IsSupported"/>.</param>
    /// <param name="rows">Tile height, 1 to 14.</param>
    /// <param name="depth">Numbers along k, a multiple of <see cref="Side"/> above 0.</param>
    /// <param name="a">Packed [depth][rows].</param>
    /// <param name="left">First of 16 lines.</param>
    /// <param name="right">First of another 16 lines.</param>
    /// <param name="lineStride">Bytes from one line to the next.</param>
    /// <param name="c">First sum.</param>
    /// <param name="stride">Distance between rows of c, in floats.</param>
    /// <param name="half">Distance between the two vectors of a row of c.</param>
    /// <param name="add">Start from c instead of zero.</param>
    /// <param name="packed">A packed tile to write, [depth][2 vectors], or null.</param>
    /// <param name="following">First of the 16 lines that come after those on the right, or null.</param>
    /// <param name="followingRight">First of the 16 lines after those.</param>
    public static void Run(
        bool pairs,
        int rows,
        nint depth,
        float* a,
        void* left,
        void* right,
        nint lineStride,
        float* c,
        nint stride,
        nint half,
        bool add,
        float* packed,
        void* following,
        void* followingRight)
    {
        bool both = Sides(pairs, rows, packed != null) == 2;
        nint first = both ? Math.Min(depth, Piece(2)) : depth;
        var call = new Call
        {
            Blocks = first / Side,
            A = a,
            Lines = (byte*)left,
            RightLines = (byte*)right,
            LineStride = lineStride,
            C = c,
            Stride = stride * sizeof(float),
            Half = half * sizeof(float),
            Add = add ? 1 : 0,
            Packed = packed,
        };
        var code = (delegate* unmanaged[SuppressGCTransition]<Call*, void>)s_entries[Index(pairs, rows, packed != null)];
        if (!both)
        {
            call.Request(right, null);
            code(&call);
            call.Blocks = depth / Side;
            call.Lines = (byte*)right;
            call.C = c + half;
            call.Packed = packed == null ? null : packed + Side;
        }
        else if (first < depth)
        {
            // The code leaves the lines where the second piece of them begins.
            call.Request((float*)left + first, (float*)right + first);
            code(&call);
            call.Blocks = (depth - first) / Side;
            call.A = a + (first * rows);
            call.Add = 1;
        }

        call.Request(following, followingRight);
        code(&call);
    }

    /// <summary>The code for one tile height: for one of the two vectors of columns, or, see <see cref="Sides"/>, for both.</summary>
    internal static byte[] Code(bool pairs, int rows, bool packs)
    {
        var code = new X64Assembler();
        (Register a, Register stride, Register triple, Register free, Register following) = (Register.Rsi, Register.Rcx, Register.R11, Register.Rax, Register.Rbx);
        int sides = Sides(pairs, rows, packs);

        code.Push(following);
        code.Load(free, Register.Rdi, Offset(nameof(Call.Add)));
        code.Test(free);
        int toZero = code.JumpIfZero();
        Sums(code, rows, sides, code.LoadVector);
        int toLoop = code.Jump();
        code.Here(toZero);
        for (int sum = 0; sum < sides * rows; sum++)
        {
            code.Zero(sum);
        }

        code.Here(toLoop);
        code.Load(a, Register.Rdi, Offset(nameof(Call.A)));
        code.Load(stride, Register.Rdi, Offset(nameof(Call.LineStride)));
        code.Address(triple, stride, stride, 2);
        int top = code.Position;
        for (int side = 0; side < sides; side++)
        {
            RegisterSquare square = Transposed(code, sides * rows, stride, triple, Offset(side == 0 ? nameof(Call.Lines) : nameof(Call.RightLines)));
            int next = Offset(side == 0 ? nameof(Call.Following) : nameof(Call.FollowingRight));
            code.Load(following, Register.Rdi, next);
            if (packs)
            {
                code.Load(free, Register.Rdi, Offset(nameof(Call.Packed)));
            }

            for (int k = 0; k < Side; k++)
            {
                code.Prefetch(following, k * 64 % (Piece(sides) * sizeof(float)));
                if ((k + 1) * 64 % (Piece(sides) * sizeof(float)) == 0)
                {
                    code.Add(following, Register.Rdi, Offset(nameof(Call.FollowingStep)));
                }

                if (packs)
                {
                    code.StoreVector(square[k], free, k * TileBytes);
                }

                for (int row = 0; row < rows; row++)
                {
                    (int sum, int offset) = ((side * rows) + row, sizeof(float) * ((k * rows) + row));
                    if (pairs)
                    {
                        code.DotPairs(sum, square[k], a, offset);
                    }
                    else
                    {
                        code.MultiplyAdd(sum, square[k], a, offset);
                    }
                }
            }

            code.Store(following, Register.Rdi, next);
            if (packs)
            {
                code.Add(free, Side * TileBytes);
                code.Store(free, Register.Rdi, Offset(nameof(Call.Packed)));
            }
        }

        code.Add(a, Side * sizeof(float) * rows);
        code.Load(free, Register.Rdi, Offset(nameof(Call.Blocks)));
        code.Decrement(free);
        code.Store(free, Register.Rdi, Offset(nameof(Call.Blocks)));
        code.JumpIfNotZero(top);
        Sums(code, rows, sides, code.StoreVector);
        code.Pop(following);
        code.Return();
        return code.ToArray();
    }

    // How many of the two vectors of columns the code handles at a time.
    private static int Sides(bool pairs, int rows, bool packs) => pairs && rows <= MicroKernel.MaxRows / 2 && !packs ? 2 : 1;

    // Numbers of a line that are asked for at a time: what is in use and what was asked for share the first-level cache.
    private static int Piece(int sides) => GemmWorkspace.Depth / sides;

    private static void Sums(X64Assembler code, int rows, int sides, Action<int, Register, int> transfer)
    {
        for (int side = 0; side < sides; side++)
        {
            code.Load(Register.Rax, Register.Rdi, Offset(nameof(Call.C)));
            if (side == 1)
            {
                code.Add(Register.Rax, Register.Rdi, Offset(nameof(Call.Half)));
            }

            for (int row = 0; row < rows; row++)
            {
                transfer((side * rows) + row, Register.Rax, 0);
                code.Add(Register.Rax, Register.Rdi, Offset(nameof(Call.Stride)));
            }
        }
    }

    // The next sixteen numbers of sixteen lines.
    private static RegisterSquare Transposed(X64Assembler code, int firstVector, Register stride, Register triple, int lines)
    {
        Register[] line = [Register.Rdx, Register.R8, Register.R9, Register.R10];
        var square = new RegisterSquare(code, firstVector);
        code.Load(line[0], Register.Rdi, lines);
        code.Address(line[1], line[0], stride, 4);
        code.Address(line[2], line[0], stride, 8);
        code.Address(line[3], line[1], stride, 8);
        for (int i = 0; i < Side; i += 4)
        {
            square.Load(i, line[i / 4], stride, triple);
        }

        code.Add(line[0], Side * sizeof(float));
        code.Store(line[0], Register.Rdi, lines);
        square.Transpose();
        return square;
    }

    private static int Index(bool pairs, int rows, bool packs) => (((pairs ? 1 : 0) + (packs ? 2 : 0)) * (MicroKernel.MaxRows + 1)) + rows;

    private static int Offset(string field) => (int)Marshal.OffsetOf<Call>(field);

    private static bool IsHere() => Vector512.IsHardwareAccelerated && Avx512F.IsSupported;

    private static nint[] Assemble()
    {
        var routines = new byte[]?[Index(true, MicroKernel.MaxRows, true) + 1];
        foreach (bool pairs in DotKernel.IsSupported ? [false, true] : (bool[])[false])
        {
            for (int rows = 1; rows <= MicroKernel.MaxRows; rows++)
            {
                routines[Index(pairs, rows, false)] = Code(pairs, rows, false);
                routines[Index(pairs, rows, true)] = Code(pairs, rows, true);
            }
        }

        return ExecutablePage.Create(routines);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Call
    {
        public nint Blocks;
        public float* A;
        public byte* Lines;
        public byte* RightLines;
        public nint LineStride;
        public float* C;
        public nint Stride;
        public nint Half;
        public nint Add;
        public float* Packed;
        public byte* Following;
        public byte* FollowingRight;
        public nint FollowingStep;

        /// <summary>Lines to ask for; without any the rows, which are there anyway.</summary>
        public void Request(void* following, void* right)
        {
            Following = following == null ? (byte*)A : (byte*)following;
            FollowingRight = right == null ? (byte*)A : (byte*)right;
            FollowingStep = following == null ? 0 : LineStride;
        }
    }
}
