using MoeSharp.Core;
using MoeSharp.Cpu;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary><see cref="FewRowsKernel"/>: every sum is one chain of multiply-adds over ascending k, and nothing is written beside it.</summary>
public sealed unsafe class FewRowsKernelTests
{
    private const int Side = FewRowsKernel.Side, Gap = 3;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Bits_AreThoseOfTheChain(bool half)
    {
        Assert.SkipUnless(FewRowsKernel.IsSupported, "here is no AVX2, or it is switched off");
        foreach (int depth in (int[])[8, 16, 72, 256])
        {
            for (int rows = 1; rows <= FewRowsKernel.MaxRows; rows++)
            {
                Check(half, rows, depth, add: false);
                Check(half, rows, depth, add: true);
            }
        }
    }

    private static void Check(bool half, int rows, int depth, bool add)
    {
        string name = $"{(half ? "bfloat16" : "float32")}, {rows} rows, {depth} steps{(add ? ", added" : string.Empty)}";
        int pitch = depth + Gap, stride = Side + Gap;
        double[] numbers = Draw.Normals(name, Side * pitch), factors = Draw.Normals($"{name} a", depth * rows), starts = Draw.Normals($"{name} c", rows * stride);
        float[] lines = [.. numbers.Select(x => (float)(half ? Tolerance.ToBFloat16(x) : x))], a = [.. factors.Select(x => (float)x)];
        ushort[] halves = [.. lines.Select(x => ((BFloat16)x).Bits)];
        float[] sums = [.. starts.Select((x, i) => add || i % stride >= Side ? (float)x : float.NaN)], expected = [.. sums];
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < Side; column++)
            {
                float sum = add ? sums[(row * stride) + column] : 0;
                for (int k = 0; k < depth; k++)
                {
                    sum = MathF.FusedMultiplyAdd(a[(k * rows) + row], lines[(column * pitch) + k], sum);
                }

                expected[(row * stride) + column] = sum;
            }
        }

        fixed (float* factor = a, floats = lines, c = sums)
        {
            fixed (ushort* bits = halves)
            {
                FewRowsKernel.Run(half, rows, depth, factor, half ? bits : floats, pitch * (half ? sizeof(ushort) : sizeof(float)), c, stride, add, null);
            }
        }

        Bits.Same(name, expected, sums);
    }
}
