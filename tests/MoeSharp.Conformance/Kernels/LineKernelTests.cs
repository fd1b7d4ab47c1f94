using Iced.Intel;
using MoeSharp.Core;
using MoeSharp.Cpu;
using Xunit;
using Register = Iced.Intel.Register;

namespace MoeSharp.Conformance;

/// <summary>One tile of <see cref="LineKernel"/>: the bits of the kernels that read packed columns, at every height, and nothing written beside it.</summary>
public sealed unsafe class LineKernelTests
{
    private const int Side = LineKernel.Side;
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
        Mnemonic[] known =
        [
            Mnemonic.Mov, Mnemonic.Add, Mnemonic.Dec, Mnemonic.Test, Mnemonic.Je, Mnemonic.Jne, Mnemonic.Jmp, Mnemonic.Prefetcht0, Mnemonic.Ret, Mnemonic.Push, Mnemonic.Pop,
            Mnemonic.Vmovups, Mnemonic.Vpxord, Mnemonic.Vunpcklps, Mnemonic.Vunpckhps, Mnemonic.Vunpcklpd, Mnemonic.Vunpckhpd, Mnemonic.Vshuff32x4, Mnemonic.Vfmadd231ps,
        ];
        for (int rows = 1; rows <= MicroKernel.MaxRows; rows++)
        {
            List<Instruction> listing = new CodeInterpreter(LineKernel.Code(pairs: false, rows, packs)).Listing;
            Assert.Equal(known.Order(), listing.Select(instruction => instruction.Mnemonic).Distinct().Order());
            Assert.Equal((Mnemonic.Push, Register.RBX), (listing[0].Mnemonic, listing[0].Op0Register));
            Assert.Equal((Mnemonic.Pop, Register.RBX), (listing[^2].Mnemonic, listing[^2].Op0Register));
            Assert.Equal(Mnemonic.Ret, listing[^1].Mnemonic);
            Assert.Single(listing, instruction => instruction.Mnemonic == Mnemonic.Ret);
            Assert.DoesNotContain(listing, instruction => instruction.Op0Register.GetFullRegister() is Register.RSP or Register.RBP or >= Register.R12 and <= Register.R15);
            Assert.Equal(Side * rows, listing.Count(instruction => instruction.Mnemonic == Mnemonic.Vfmadd231ps && instruction.IsBroadcast));
            Assert.Equal(64, listing.Count(instruction => instruction.Mnemonic is Mnemonic.Vunpcklps or Mnemonic.Vunpckhps or Mnemonic.Vunpcklpd or Mnemonic.Vunpckhpd or Mnemonic.Vshuff32x4));
            Assert.Equal(rows + (packs ? Side : 0), listing.Count(instruction => instruction.Mnemonic == Mnemonic.Vmovups && instruction.Op0Kind == OpKind.Memory));
        }
    }

    private static void Check(bool pairs, int rows, int depth, bool add, bool packs)
    {
        // Whatever lies between and behind lines, rows and sums is NaN, or must stay what it is.
        int pitch = depth + Gap, stride = 2 * Side + Gap;
        string name = $"{(pairs ? "pairs" : "floats")}, {rows} rows, {depth} steps{(add ? ", added" : string.Empty)}{(packs ? ", packed" : string.Empty)}";
        CounterRandom random = Draw.Stream(name);
        ulong next = 0;
        float[] a = Poisoned(depth * rows), lines = Poisoned(Side * pitch), packed = Poisoned(depth * 2 * Side), sums = Poisoned(rows * stride);
        for (int i = 0; i < depth * rows; i++)
        {
            a[i] = Number();
        }

        for (int column = 0; column < Side; column++)
        {
            for (int k = 0; k < depth; k++)
            {
                lines[(column * pitch) + k] = Number();
            }
        }

        for (int row = 0; add && row < rows; row++)
        {
            for (int column = 0; column < Side; column++)
            {
                sums[(row * stride) + column] = (float)random.Normal(next++);
            }
        }

        // The other kernels take two vectors of columns: the second one is all zeros.
        float[] columns = new float[depth * 2 * Side + (16 * 2 * Side)], both = new float[rows * 2 * Side];
        float[] store = [.. packed];
        for (int column = 0; column < Side; column++)
        {
            for (int k = 0; k < depth; k++)
            {
                columns[(k * 2 * Side) + column] = store[(k * 2 * Side) + column] = lines[(column * pitch) + k];
            }

            for (int row = 0; row < rows; row++)
            {
                both[(row * 2 * Side) + column] = sums[(row * stride) + column];
            }
        }

        float[] expected = [.. sums];
        fixed (float* rowsOf = a, from = lines, pack = packed, to = sums, b = columns, c = both)
        {
            LineKernel.Run(pairs, rows, depth, rowsOf, from, pitch * sizeof(float), to, stride, add, packs ? pack : null, null);
            if (pairs)
            {
                DotKernel.Run(rows, depth, rowsOf, b, c, 2 * Side, Side, 0, add, (byte*)b, 0);
            }
            else
            {
                KernelTable.ForRows(rows)(depth, rowsOf, b, c, 2 * Side, Side, 0, add, (byte*)b, 0);
            }
        }

        for (int i = 0; i < rows * Side; i++)
        {
            expected[(i / Side * stride) + (i % Side)] = both[(i / Side * 2 * Side) + (i % Side)];
        }

        Same(name, expected, sums);
        Same($"{name}: columns", packs ? store : Poisoned(depth * 2 * Side), packed);

        float Number() => pairs ? BitConverter.UInt32BitsToSingle(Half() | (Half() << 16)) : (float)random.Normal(next++);

        // One in 64 is subnormal, which pairs count as zero.
        uint Half() => (BitConverter.SingleToUInt32Bits((float)random.Normal(next++)) >> 16) & (random.Below(next++, 64) == 0 ? 0x807Fu : 0xFFFFu);
    }

    private static float[] Poisoned(int count)
    {
        var values = new float[count + (2 * Side)];
        Array.Fill(values, float.NaN);
        return values;
    }

    private static void Same(string name, float[] expected, float[] actual)
    {
        for (int i = 0; i < Math.Min(expected.Length, actual.Length); i++)
        {
            Assert.True(BitConverter.SingleToInt32Bits(expected[i]) == BitConverter.SingleToInt32Bits(actual[i]), $"{name}: number {i} is {actual[i]:R} instead of {expected[i]:R}");
        }
    }
}
