using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace MoeSharp.Cpu;

/// <summary>The tile of <see cref="MicroKernel"/> on pairs of bfloat16: up to 14 rows and two 512-bit vectors of columns, made of vdpbf16ps.</summary>
/// <remarks>
/// <para>The problem: AVX512-BF16 multiplies twice as many bfloat16 as float32 numbers per cycle, and this runtime has no intrinsic for it.
/// The choice: one routine per tile height, assembled at start-up: 28 sums in registers, two registers for columns, two for rows in turn.
/// Packed operands look as for float32, a pair of neighbours in k where a float stands.</para>
/// <para>Rounding: one chain over ascending pairs, each product added with a rounding of its own; subnormal inputs and results count as 0.
/// The bits do not depend on the tile height or the position in a tile.</para>
/// </remarks>
internal static unsafe class DotKernel
{
    private const int Unroll = PrefetchRun.StepsPerRequest;

    /// <summary>How many steps ahead of the columns to prefetch; of 0, 8, 16 and 32 (bench/MoeSharp.Bench, GemmBench) as good as any.</summary>
    private const int PrefetchSteps = 16;

    private static readonly nint[] s_entries = HasInstruction() ? ExecutablePage.Create([null, .. Enumerable.Range(1, MicroKernel.MaxRows).Select(Code)]) : [];

    /// <summary>Whether the processor has the instruction and the system lets this process have code of its own.</summary>
    public static bool IsSupported => s_entries.Length > 0;

    /// <summary>c = a b, or c += a b; parameters as in <see cref="MicroKernel"/>, distances in floats.</summary>
    /// <param name="rows">Tile height, 1 to 14.</param>
    /// <param name="depth">Steps, each a pair in k.</param>
    /// <param name="a">Packed [depth][rows] pairs.</param>
    /// <param name="b">Packed [depth][2 vectors] pairs.</param>
    /// <param name="c">First element of the tile.</param>
    /// <param name="stride">Distance between rows of c.</param>
    /// <param name="half">Distance between the two vectors of a row of c.</param>
    /// <param name="ahead">Distance from c to the tile that will be asked for next; its rows are prefetched.</param>
    /// <param name="add">Start from c instead of zero.</param>
    /// <param name="next">Memory to ask for on the way.</param>
    /// <param name="nextStep">Bytes from one request to the next.</param>
    public static void Run(
        int rows, nint depth, float* a, float* b, float* c, nint stride, nint half, nint ahead, bool add, byte* next, nint nextStep)
    {
        var call = new Call
        {
            Blocks = depth / Unroll, Rest = depth % Unroll, A = a, B = b, C = c, Stride = stride * sizeof(float), Half = half * sizeof(float), Ahead = ahead * sizeof(float), Add = add ? 1 : 0, Next = next, NextStep = nextStep,
        };
        ((delegate* unmanaged[SuppressGCTransition]<Call*, void>)s_entries[rows])(&call);
    }

    /// <summary>The code for one tile height.</summary>
    internal static byte[] Code(int rows)
    {
        var code = new X64Assembler();
        (Register blocks, Register a, Register b, Register c, Register stride, Register half, Register rest) =
            (Register.Rax, Register.Rsi, Register.Rdx, Register.Rcx, Register.R8, Register.R9, Register.R10);

        code.Load(blocks, Register.Rdi, Offset(nameof(Call.Blocks)));
        code.Load(rest, Register.Rdi, Offset(nameof(Call.Rest)));
        code.Load(a, Register.Rdi, Offset(nameof(Call.A)));
        code.Load(b, Register.Rdi, Offset(nameof(Call.B)));
        code.Load(stride, Register.Rdi, Offset(nameof(Call.Stride)));
        code.Load(half, Register.Rdi, Offset(nameof(Call.Half)));
        code.Load(Register.R11, Register.Rdi, Offset(nameof(Call.Add)));
        code.Test(Register.R11);
        int toZero = code.JumpIfZero();
        Rows(code, rows, c, half, stride, code.LoadVector);
        int toLoop = code.Jump();
        code.Here(toZero);
        for (int row = 0; row < rows; row++)
        {
            code.Zero(2 * row);
            code.Zero((2 * row) + 1);
        }

        code.Here(toLoop);
        PrefetchRows(code, rows, c, half, stride);
        code.Load(c, Register.Rdi, Offset(nameof(Call.Next)));
        code.Load(Register.R11, Register.Rdi, Offset(nameof(Call.NextStep)));
        Loop(code, rows, blocks, a, b, c, Unroll);
        Loop(code, rows, rest, a, b, c, 1);
        Rows(code, rows, c, half, stride, code.StoreVector);
        code.Return();
        return code.ToArray();
    }

    // Two vectors of every row of c: the second one is reached by walking to it and back.
    private static void Rows(X64Assembler code, int rows, Register c, Register half, Register stride, Action<int, Register, int> transfer)
    {
        for (int side = 0; side < 2; side++)
        {
            code.Load(c, Register.Rdi, Offset(nameof(Call.C)));
            if (side == 1)
            {
                code.Add(c, half);
            }

            for (int row = 0; row < rows; row++)
            {
                transfer((2 * row) + side, c, 0);
                code.Add(c, stride);
            }
        }
    }

    // The tile that comes next is on its way while this one is multiplied.
    private static void PrefetchRows(X64Assembler code, int rows, Register c, Register half, Register stride)
    {
        code.Load(c, Register.Rdi, Offset(nameof(Call.C)));
        code.Load(Register.R11, Register.Rdi, Offset(nameof(Call.Ahead)));
        code.Add(c, Register.R11);
        code.Load(Register.R11, Register.Rdi, Offset(nameof(Call.Half)));
        code.Add(Register.R11, c);
        for (int row = 0; row < rows; row++)
        {
            code.Prefetch(c, 0);
            code.Prefetch(Register.R11, 0);
            code.Add(c, stride);
            code.Add(Register.R11, stride);
        }
    }

    // The step between requests is in R11.
    private static void Loop(X64Assembler code, int rows, Register count, Register a, Register b, Register next, int steps)
    {
        code.Test(count);
        int done = code.JumpIfZero();
        int top = code.Position;
        if (steps == PrefetchRun.StepsPerRequest)
        {
            code.PrefetchSecond(next, 0);
            code.PrefetchSecond(next, 64);
            code.Add(next, Register.R11);
        }

        for (int step = 0; step < steps; step++)
        {
            int left = 128 * step, line = 4 * rows * step;
            code.Prefetch(b, left + (128 * PrefetchSteps));
            code.Prefetch(b, left + (128 * PrefetchSteps) + 64);
            code.LoadVector(28, b, left);
            code.LoadVector(29, b, left + 64);
            for (int row = 0; row < rows; row++)
            {
                int factor = 30 + (row & 1);
                code.Broadcast(factor, a, line + (4 * row));
                code.DotPairs(2 * row, 28, factor);
                code.DotPairs((2 * row) + 1, 29, factor);
            }
        }

        code.Add(a, 4 * rows * steps);
        code.Add(b, 128 * steps);
        code.Decrement(count);
        code.JumpIfNotZero(top);
        code.Here(done);
    }

    private static int Offset(string field) => (int)Marshal.OffsetOf<Call>(field);

    // AVX512_BF16 is bit 5 of EAX of leaf 7, subleaf 1; the runtime has checked that the system saves the 512-bit registers.
    private static bool HasInstruction() =>
        X86Base.IsSupported && Vector512.IsHardwareAccelerated && Avx512F.IsSupported && X86Base.CpuId(7, 0).Eax >= 1 && (X86Base.CpuId(7, 1).Eax & 32) != 0;

    [StructLayout(LayoutKind.Sequential)]
    private struct Call
    {
        public nint Blocks;
        public nint Rest;
        public float* A;
        public float* B;
        public float* C;
        public nint Stride;
        public nint Half;
        public nint Ahead;
        public nint Add;
        public byte* Next;
        public nint NextStep;
    }
}
