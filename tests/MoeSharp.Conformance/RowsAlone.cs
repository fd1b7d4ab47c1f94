using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>A token has the bits of its own, whoever stands beside it: outputs and gradients of a batch are those of batches of one.</summary>
/// <remarks>
/// Decoding and prefill of a model agree only if a product does not depend on the number of rows. Experts get from one row to several
/// tiles of them here, and widths are whole tiles, whole vectors and neither, because each has code of its own.
/// </remarks>
public abstract class RowsAlone(Backend subject)
{
    /// <summary>Rows of each expert: below, at and above heights of tiles.</summary>
    private static readonly int[] s_rows = [1, 2, 13, 14, 15, 29, 0, 6];

    [Theory]
    [InlineData(64, 32)]
    [InlineData(272, 144)]
    [InlineData(300, 20)]
    public void OneToken_HasTheBits_ItHasInABatch(int hidden, int width)
    {
        int[] experts = [.. s_rows.SelectMany((rows, expert) => Enumerable.Repeat(expert, rows))];
        int tokens = experts.Length;
        double[] x = Draw.Normals("x alone", tokens * hidden), dOut = Draw.Normals("dOut alone", tokens * hidden);
        double[] w1 = Draw.Normals("w1 alone", s_rows.Length * 2L * width * hidden, 0.1), w2 = Draw.Normals("w2 alone", s_rows.Length * (long)width * hidden, 0.1);
        double[] weights = Draw.Normals("weights alone", tokens);
        var spec = new RouterSpec { Experts = s_rows.Length, TopK = 1 };
        ExpertLayer batch = ExpertLayer.Run(subject, spec, experts, weights, new(tokens, hidden, width, x, w1, w2, dOut));

        // The first and the last row of every expert: rows of a batch are cut into tiles of nearly equal height.
        foreach (int t in Enumerable.Range(0, tokens).Where(t => t == 0 || t == tokens - 1 || experts[t - 1] != experts[t] || experts[t + 1] != experts[t]))
        {
            Range row = (t * hidden)..((t + 1) * hidden);
            ExpertLayer alone = ExpertLayer.Run(subject, spec, [experts[t]], [weights[t]], new(1, hidden, width, x[row], w1, w2, dOut[row]));
            Bits.Same(batch.Output[row], alone.Output);
            Bits.Same(batch.DX[row], alone.DX);
            Bits.Same([batch.DWeights[t]], alone.DWeights);
        }
    }
}

public sealed class RowsAloneOnCpu(BackendPool pool) : RowsAlone(pool.Cpu);

public sealed class RowsAloneOnCpu16(BackendPool pool) : RowsAlone(pool.Cpu16);

public sealed class RowsAloneOnCpu16Simd(BackendPool pool) : RowsAlone(pool.Cpu16Simd);

public sealed class RowsAloneOnCpuPortable(BackendPool pool) : RowsAlone(pool.CpuPortable);

public sealed class RowsAloneOnCpu16Portable(BackendPool pool) : RowsAlone(pool.Cpu16Portable);
