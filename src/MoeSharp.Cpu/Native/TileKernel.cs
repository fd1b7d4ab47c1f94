using System.Runtime.InteropServices;

namespace MoeSharp.Cpu;

/// <summary>The tile of <see cref="MicroKernel"/> on AMX: 1 to 32 rows and 32 columns of float32 sums of bfloat16 pairs, in tile registers.</summary>
/// <remarks>
/// <para>The problem: tdpbf16ps multiplies 16 x 32 by 32 x 16 numbers in one instruction, many times what vectors do, and this runtime has no
/// intrinsic for it. The choice: four routines, assembled at start-up. Four of the eight tiles hold sums (two by two, so that two loads of A and
/// two of B feed four products), two hold A, two hold B. Packed columns look as for <see cref="DotKernel"/>, whose pairs per k and column are
/// just what the instruction wants; packed rows are [depth / 16][32 rows][16 pairs] (<see cref="TilePacking"/>).</para>
/// <para>Edges: fewer rows are a shape of the tiles, so no row is computed or touched that is not there; up to 16 rows do without the lower
/// two sums. Fewer than 16 steps in k are zeros in both packed operands. Missing columns are the caller's, as for every kernel.</para>
/// <para>Rounding: per 16 steps, even and odd members of the pairs are two chains of fused multiply-adds in ascending k from zero; their sum is
/// rounded, and added to the element. Subnormal inputs and results count as 0. Blocks of 16 begin at multiples of 16 in k, so the bits
/// depend on nothing else: not on the tile height, the position in a tile, or a cut in k at a multiple of 16 steps.</para>
/// <para>A thread that keeps tiles in use makes its context switches slower: the owner of a piece of work calls <see cref="Release"/> after it.</para>
/// <para>Sources: Intel SDM volume 2 (LDTILECFG, TILELOADD, TDPBF16PS). What is measured: the encodings and the 2 x 2 loop ran on Sapphire Rapids in
/// a prototype; this code is tested on a model of the instructions, and on processors that have them by the conformance suite there. Distances
/// of prefetches are the prototype's; its speed here has not been measured.</para>
/// </remarks>
internal sealed unsafe class TileKernel(TileProcessor processor, int threads)
{
    /// <summary>Largest tile height.</summary>
    public const int MaxRows = 2 * Side;

    /// <summary>Columns of a tile.</summary>
    public const int Columns = 2 * Side;

    /// <summary>Steps in k, each a pair, of one product of tiles; also rows of a register, and columns of float32.</summary>
    public const int Side = 16;

    private const int LineBytes = 64;
    private const int ColumnBytes = 2 * LineBytes;
    private const int BlockBytes = MaxRows * LineBytes;

    /// <summary>How far ahead in the columns to prefetch, in bytes: four blocks, as in the prototype.</summary>
    private const int PrefetchBytes = 4 * BlockBytes;

    /// <summary>Entries of one thread are a cache line apart.</summary>
    private const int PerThread = 16;

    private static readonly (byte[] Code, int Configure, int Release, int Low, int High) s_routines = Assemble();

    /// <summary>The tile height that each thread's tiles are shaped for, 0 for none.</summary>
    private readonly int[] _shapes = new int[threads * PerThread];

    /// <summary>The machine code of all routines.</summary>
    public static ReadOnlySpan<byte> Code => s_routines.Code;

    /// <summary>Routine that takes 64 bytes of tile shapes.</summary>
    public static int ConfigureEntry => s_routines.Configure;

    /// <summary>Routine that gives the tiles back.</summary>
    public static int ReleaseEntry => s_routines.Release;

    /// <summary>Routine that multiplies for up to 16 rows; takes a <see cref="Product"/>.</summary>
    public static int LowEntry => s_routines.Low;

    /// <summary>Routine that multiplies for 17 to 32 rows; takes a <see cref="Product"/>.</summary>
    public static int HighEntry => s_routines.High;

    /// <summary>c = a b, or c += a b; parameters as in <see cref="DotKernel.Run"/>.</summary>
    /// <param name="thread">The worker that runs this.</param>
    /// <param name="rows">Tile height, 1 to 32.</param>
    /// <param name="depth">Steps, each a pair in k.</param>
    /// <param name="a">Packed [depth / 16][32 rows][16 pairs], with zeros behind the last step.</param>
    /// <param name="b">Packed [depth][32 columns] pairs, with zeros up to a multiple of 16 steps.</param>
    /// <param name="c">First element of the tile.</param>
    /// <param name="stride">Distance between rows of c.</param>
    /// <param name="half">Distance between the left and the right half of a row of c.</param>
    /// <param name="ahead">Distance from c to the tile that will be asked for next; its rows are prefetched.</param>
    /// <param name="add">Start from c instead of zero.</param>
    public void Run(int thread, int rows, nint depth, float* a, float* b, float* c, nint stride, nint half, nint ahead, bool add)
    {
        Shape(thread, rows);
        float* below = c + (Side * stride);
        var product = new Product
        {
            Blocks = (depth + Side - 1) / Side,
            Rows = rows,
            A = a,
            B = b,
            Stride = stride * sizeof(float),
            Add = add ? 1 : 0,
            UpperLeft = c,
            UpperRight = c + half,
            LowerLeft = below,
            LowerRight = below + half,
            NextLeft = c + ahead,
            NextRight = c + ahead + half,
        };
        processor.Call(rows <= Side ? LowEntry : HighEntry, &product);
    }

    /// <summary>Gives a thread's tiles back, if it has any; the thread itself calls this.</summary>
    public void Release(int thread)
    {
        ref int shape = ref _shapes[thread * PerThread];
        if (shape != 0)
        {
            shape = 0;
            processor.Call(ReleaseEntry, null);
        }
    }

    // Heights within a block of work differ by at most one, so this happens once per row of tiles or less.
    private void Shape(int thread, int rows)
    {
        ref int shape = ref _shapes[thread * PerThread];
        if (shape == rows)
        {
            return;
        }

        // Byte 0: palette 1, eight tiles of 1 KiB. From 16 on: bytes per row, 16 bits each. From 48 on: rows. A tile that is not used has neither.
        byte* shapes = stackalloc byte[LineBytes];
        new Span<byte>(shapes, LineBytes).Clear();
        shapes[0] = 1;
        int upper = Math.Min(rows, Side), lower = rows - upper;
        ReadOnlySpan<int> heights = [upper, upper, lower, lower, upper, lower, Side, Side];
        for (int tile = 0; tile < heights.Length; tile++)
        {
            shapes[16 + (2 * tile)] = (byte)(heights[tile] == 0 ? 0 : LineBytes);
            shapes[48 + tile] = (byte)heights[tile];
        }

        processor.Call(ConfigureEntry, shapes);
        shape = rows;
    }

    private static (byte[] Code, int Configure, int Release, int Low, int High) Assemble()
    {
        var all = new List<byte>();
        int configure = Append(all, code => code.ConfigureTiles(Register.Rdi));
        int release = Append(all, code => code.ReleaseTiles());
        int low = Append(all, code => Multiply(code, lower: false));
        int high = Append(all, code => Multiply(code, lower: true));
        return ([.. all], configure, release, low, high);
    }

    private static int Append(List<byte> all, Action<X64Assembler> write)
    {
        var code = new X64Assembler();
        write(code);
        code.Return();
        all.AddRange(Enumerable.Repeat((byte)0xCC, -all.Count & 63));
        int entry = all.Count;
        all.AddRange(code.ToArray());
        return entry;
    }

    private static void Multiply(X64Assembler code, bool lower)
    {
        (Register count, Register a, Register b, Register c, Register stride, Register line, Register pair) =
            (Register.Rax, Register.Rsi, Register.Rdx, Register.Rcx, Register.R8, Register.R9, Register.R10);
        string[] sums = lower
            ? [nameof(Product.UpperLeft), nameof(Product.UpperRight), nameof(Product.LowerLeft), nameof(Product.LowerRight)]
            : [nameof(Product.UpperLeft), nameof(Product.UpperRight)];

        code.Load(stride, Register.Rdi, Offset(nameof(Product.Stride)));
        PrefetchNext(code, count, c, stride);
        code.Load(count, Register.Rdi, Offset(nameof(Product.Blocks)));
        code.Load(a, Register.Rdi, Offset(nameof(Product.A)));
        code.Load(b, Register.Rdi, Offset(nameof(Product.B)));
        code.Set(line, LineBytes);
        code.Set(pair, ColumnBytes);

        code.Load(Register.R11, Register.Rdi, Offset(nameof(Product.Add)));
        code.Test(Register.R11);
        int toZero = code.JumpIfZero();
        Sums(code, sums, c, stride, code.LoadTile);
        int toLoop = code.Jump();
        code.Here(toZero);
        for (int tile = 0; tile < sums.Length; tile++)
        {
            code.ZeroTile(tile);
        }

        code.Here(toLoop);
        code.Test(count);
        int done = code.JumpIfZero();
        int top = code.Position;
        code.LoadTile(4, a, line, 0);
        code.LoadTile(6, b, pair, 0);
        code.DotTiles(0, 4, 6);
        code.LoadTile(7, b, pair, LineBytes);
        code.DotTiles(1, 4, 7);
        if (lower)
        {
            code.LoadTile(5, a, line, Side * LineBytes);
            code.DotTiles(2, 5, 6);
            code.DotTiles(3, 5, 7);
        }

        // Rows stay in the first-level cache while columns pass by.
        for (int offset = 0; offset < Side * ColumnBytes; offset += LineBytes)
        {
            code.Prefetch(b, PrefetchBytes + offset);
        }

        code.Add(a, BlockBytes);
        code.Add(b, Side * ColumnBytes);
        code.Decrement(count);
        code.JumpIfNotZero(top);
        code.Here(done);
        Sums(code, sums, c, stride, code.StoreTile);
    }

    private static void Sums(X64Assembler code, string[] fields, Register c, Register stride, Action<int, Register, Register, int> transfer)
    {
        for (int tile = 0; tile < fields.Length; tile++)
        {
            code.Load(c, Register.Rdi, Offset(fields[tile]));
            transfer(tile, c, stride, 0);
        }
    }

    // The sums that come next are on their way while these are computed.
    private static void PrefetchNext(X64Assembler code, Register rows, Register left, Register stride)
    {
        code.Load(rows, Register.Rdi, Offset(nameof(Product.Rows)));
        code.Load(left, Register.Rdi, Offset(nameof(Product.NextLeft)));
        code.Load(Register.R11, Register.Rdi, Offset(nameof(Product.NextRight)));
        int top = code.Position;
        code.Prefetch(left, 0);
        code.Prefetch(Register.R11, 0);
        code.Add(left, stride);
        code.Add(Register.R11, stride);
        code.Decrement(rows);
        code.JumpIfNotZero(top);
    }

    private static int Offset(string field) => (int)Marshal.OffsetOf<Product>(field);

    /// <summary>What a multiplying routine is told.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct Product
    {
        /// <summary>Blocks of 16 steps in k.</summary>
        public nint Blocks;

        /// <summary>Tile height, not 0.</summary>
        public nint Rows;

        /// <summary>Packed rows.</summary>
        public float* A;

        /// <summary>Packed columns.</summary>
        public float* B;

        /// <summary>Distance between rows of sums, in bytes.</summary>
        public nint Stride;

        /// <summary>Not 0: start from the sums that are there.</summary>
        public nint Add;

        /// <summary>Sums of the upper 16 rows, left 16 columns.</summary>
        public float* UpperLeft;

        /// <summary>Sums of the upper 16 rows, right 16 columns.</summary>
        public float* UpperRight;

        /// <summary>Sums of the lower rows, left 16 columns.</summary>
        public float* LowerLeft;

        /// <summary>Sums of the lower rows, right 16 columns.</summary>
        public float* LowerRight;

        /// <summary>Rows to prefetch.</summary>
        public float* NextLeft;

        /// <summary>Their right halves.</summary>
        public float* NextRight;
    }
}
