using Iced.Intel;
using MoeSharp.Core;
using MoeSharp.Cpu;
using Xunit;
using Register = Iced.Intel.Register;

namespace MoeSharp.Conformance;

/// <summary>One tile of <see cref="LineKernel"/>: the bits of the kernels that read packed columns, at every height, and nothing written beside it.</summary>
public sealed unsafe class LineKernelTests
{
    private const int Side = LineKernel.Side, Columns = 2 * Side;
    private const int Gap = 5;
    private static readonly int[] s_depths = [16, 32, 80, 256];

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Bits_AreThoseOfPackedColumns(bool pairs)
    {
        Assert.SkipUnless(LineKernel.IsSupported, "here is no AVX-512, or the system forbids executable memory");
        Assert.SkipUnless(!pairs || DotKernel.IsSupported, $"here {CpuIsas.Missing(CpuIsa.Avx512BFloat16)}");
        foreach (int depth in s_depths)
        {
            for (int rows = 1; rows <= MicroKernel.MaxRows; rows++)
            {
                foreach (bool add in (bool[])[false, true])
                {
                    foreach (bool packs in (bool[])[false, true])
                    {
                        Check(pairs, rows, depth, add, packs);
                    }
                }
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Code_IsMadeOfKnownInstructions_AndGivesBackWhatItBorrows(bool packs)
    {
        CheckCode(pairs: false, packs, Mnemonic.Vfmadd231ps, most: 0);
        CheckCode(pairs: true, packs, Mnemonic.Vdpbf16ps, most: packs ? 0 : MicroKernel.MaxRows / 2);
    }

    // Up to some height the code is for both vectors of columns.
    private static void CheckCode(bool pairs, bool packs, Mnemonic product, int most)
    {
        Mnemonic[] known =
        [
            Mnemonic.Mov, Mnemonic.Add, Mnemonic.Lea, Mnemonic.Dec, Mnemonic.Test, Mnemonic.Je, Mnemonic.Jne, Mnemonic.Jmp, Mnemonic.Prefetcht0, Mnemonic.Ret, Mnemonic.Push, Mnemonic.Pop,
            Mnemonic.Vmovups, Mnemonic.Vpxord, Mnemonic.Vunpcklps, Mnemonic.Vunpckhps, Mnemonic.Vunpcklpd, Mnemonic.Vunpckhpd, Mnemonic.Vshuff32x4, product,
        ];
        for (int rows = 1; rows <= MicroKernel.MaxRows; rows++)
        {
            int sides = rows <= most ? 2 : 1;
            List<Instruction> listing = new CodeInterpreter(LineKernel.Code(pairs, rows, packs)).Listing;
            Assert.Equal(known.Order(), listing.Select(instruction => instruction.Mnemonic).Distinct().Order());
            Assert.Equal((Mnemonic.Push, Register.RBX), (listing[0].Mnemonic, listing[0].Op0Register));
            Assert.Equal((Mnemonic.Pop, Register.RBX), (listing[^2].Mnemonic, listing[^2].Op0Register));
            Assert.Equal(Mnemonic.Ret, listing[^1].Mnemonic);
            Assert.Single(listing, instruction => instruction.Mnemonic == Mnemonic.Ret);
            Assert.DoesNotContain(listing, instruction => instruction.Op0Register.GetFullRegister() is Register.RSP or Register.RBP or >= Register.R12 and <= Register.R15);
            Assert.Equal(sides * Side * rows, listing.Count(instruction => instruction.Mnemonic == product && instruction.IsBroadcast));
            Assert.Equal(sides * 64, listing.Count(instruction => instruction.Mnemonic is Mnemonic.Vunpcklps or Mnemonic.Vunpckhps or Mnemonic.Vunpcklpd or Mnemonic.Vunpckhpd or Mnemonic.Vshuff32x4));
            Assert.Equal((sides * rows) + (packs ? Side : 0), listing.Count(instruction => instruction.Mnemonic == Mnemonic.Vmovups && instruction.Op0Kind == OpKind.Memory));
        }
    }

    private static void Check(bool pairs, int rows, int depth, bool add, bool packs)
    {
        // Whatever lies between and behind lines, rows and sums is NaN, or must stay what it is.
        int pitch = depth + Gap, half = Side + Gap, stride = half + Side + Gap;
        string name = $"{(pairs ? "pairs" : "floats")}, {rows} rows, {depth} steps{(add ? ", added" : string.Empty)}{(packs ? ", packed" : string.Empty)}";
        CounterRandom random = Draw.Stream(name);
        ulong next = 0;
        float[] a = Poisoned(depth * rows), lines = Poisoned(Columns * pitch), packed = Poisoned(depth * Columns), sums = Poisoned(rows * stride);
        for (int i = 0; i < depth * rows; i++)
        {
            a[i] = Number();
        }

        for (int i = 0; i < Columns * depth; i++)
        {
            lines[(i / depth * pitch) + (i % depth)] = Number();
        }

        for (int i = 0; add && i < rows * Columns; i++)
        {
            sums[At(i)] = (float)random.Normal(next++);
        }

        // The kernels that read packed columns prefetch behind them.
        float[] columns = new float[(depth + 32) * Columns], together = new float[rows * Columns], expected = [.. sums], store = [.. packed];
        for (int i = 0; i < depth * Columns; i++)
        {
            columns[i] = store[i] = lines[(i % Columns * pitch) + (i / Columns)];
        }

        for (int i = 0; i < together.Length; i++)
        {
            together[i] = sums[At(i)];
        }

        fixed (float* rowsOf = a, from = lines, pack = packed, to = sums, b = columns, c = together)
        {
            float* right = from + (Side * pitch);
            LineKernel.Run(pairs, rows, depth, rowsOf, from, right, pitch * sizeof(float), to, stride, half, add, packs ? pack : null, null, null);
            if (pairs)
            {
                DotKernel.Run(rows, depth, rowsOf, b, c, Columns, Side, 0, add, (byte*)b, 0);
            }
            else
            {
                KernelTable.ForRows(rows)(depth, rowsOf, b, c, Columns, Side, 0, add, (byte*)b, 0);
            }
        }

        for (int i = 0; i < together.Length; i++)
        {
            expected[At(i)] = together[i];
        }

        Bits.Same(name, expected, sums);
        Bits.Same($"{name}: columns", packs ? store : Poisoned(depth * Columns), packed);

        int At(int i) => (i / Columns * stride) + (i % Columns / Side * half) + (i % Side);

        float Number() => pairs ? BitConverter.UInt32BitsToSingle(Half() | (Half() << 16)) : (float)random.Normal(next++);

        // One in 64 is subnormal, which pairs count as zero.
        uint Half() => (BitConverter.SingleToUInt32Bits((float)random.Normal(next++)) >> 16) & (random.Below(next++, 64) == 0 ? 0x807Fu : 0xFFFFu);
    }

    private static float[] Poisoned(int count)
    {
        var values = new float[count + Columns];
        Array.Fill(values, float.NaN);
        return values;
    }
}
