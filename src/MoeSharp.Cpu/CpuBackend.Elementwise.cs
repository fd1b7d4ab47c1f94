using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <content>
/// Element-wise ops and gates. All are bound by memory, so they are one pass each, with no temporary; tails run through the vector code.
/// </content>
public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void AddCore(Tensor a, Tensor b, Tensor y)
    {
        using WideOperands wide = _wide;
        var work = new Operands
        {
            A = wide.Read(a), B = wide.Read(b), C = wide.Write(y), Count = y.ElementCount,
        };
        Parallel.For(FlatChunks(work.Count), work, static (w, chunk) =>
        {
            long first = (long)chunk * ElementsPerChunk;
            int n = (int)Math.Min(ElementsPerChunk, w.Count - first);
            for (int i = 0; i < n; i += VectorMath.Lanes)
            {
                VectorMath.Store(VectorMath.Load(w.A + first + i, n - i) + VectorMath.Load(w.B + first + i, n - i), w.C + first + i, n - i);
            }
        });
    }

    /// <inheritdoc/>
    protected override void AxpyCore(double alpha, Tensor x, Tensor y)
    {
        using WideOperands wide = _wide;
        var work = new Operands { A = wide.Read(x), C = wide.Update(y), Count = y.ElementCount, Scalar = (float)alpha };
        Parallel.For(FlatChunks(work.Count), work, static (w, chunk) =>
        {
            long first = (long)chunk * ElementsPerChunk;
            VectorMath.AddScaled(w.Scalar, w.A + first, w.C + first, (int)Math.Min(ElementsPerChunk, w.Count - first));
        });
    }

    /// <inheritdoc/>
    protected override void ScaleCore(Tensor x, double alpha, Tensor y)
    {
        using WideOperands wide = _wide;
        var work = new Operands { A = wide.Read(x), C = wide.Write(y), Count = y.ElementCount, Scalar = (float)alpha };
        Parallel.For(FlatChunks(work.Count), work, static (w, chunk) =>
        {
            long first = (long)chunk * ElementsPerChunk;
            VectorMath.Scaled(w.Scalar, w.A + first, w.C + first, (int)Math.Min(ElementsPerChunk, w.Count - first));
        });
    }

    /// <inheritdoc/>
    protected override void FillCore(Tensor y, double value)
    {
        using WideOperands wide = _wide;
        var work = new Operands { A = wide.Write(y), Count = y.ElementCount, Scalar = (float)value };
        Parallel.For(FlatChunks(work.Count), work, static (w, chunk) =>
        {
            long first = (long)chunk * ElementsPerChunk;
            new Span<float>(w.A + first, (int)Math.Min(ElementsPerChunk, w.Count - first)).Fill(w.Scalar);
        });
    }

    /// <inheritdoc/>
    protected override void AddBiasCore(Tensor x, Tensor bias, Tensor y)
    {
        using WideOperands wide = _wide;
        var work = new Operands
        {
            A = wide.Read(x), B = wide.Read(bias), C = wide.Write(y),
            Rows = (int)x.Shape[0], Width = (int)x.Shape[1], Step = RowsPerChunk(x.Shape[1]),
        };
        Parallel.For(work.Chunks, work, static (w, chunk) =>
        {
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                nint row = (nint)t * w.Width;
                for (int i = 0; i < w.Width; i += VectorMath.Lanes)
                {
                    int rest = w.Width - i;
                    VectorMath.Store(VectorMath.Load(w.A + row + i, rest) + VectorMath.Load(w.B + i, rest), w.C + row + i, rest);
                }
            }
        });
    }

    /// <inheritdoc/>
    protected override void AddBiasBackwardCore(Tensor dY, Tensor dBias)
    {
        using WideOperands wide = _wide;
        var work = new Operands
        {
            A = wide.Read(dY), Rows = (int)dY.Shape[0], Width = (int)dY.Shape[1], Step = TokenChunk,
        };
        work.Partials = Scratch.Shared(0, (long)work.Chunks * work.Width);
        Parallel.For(work.Chunks, work, static (w, chunk) =>
        {
            float* partial = w.Partials + ((nint)chunk * w.Width);
            Clear(partial, w.Width);
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                VectorMath.AddTo(w.A + ((nint)t * w.Width), partial, w.Width);
            }
        });
        AddPartials(work.Partials, work.Chunks, work.Width, Operands.Floats(dBias));
    }

    /// <inheritdoc/>
    protected override void SwiGluCore(Tensor z, Tensor a)
    {
        using WideOperands wide = _wide;
        var work = new Operands
        {
            A = wide.Read(z), C = wide.Write(a),
            Rows = (int)a.Shape[0], Width = (int)a.Shape[1], Step = RowsPerChunk(a.Shape[1]),
        };
        Parallel.For(work.Chunks, work, static (w, chunk) =>
        {
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                float* gate = w.A + (2 * (nint)t * w.Width), up = gate + w.Width, a = w.C + ((nint)t * w.Width);
                for (int i = 0; i < w.Width; i += VectorMath.Lanes)
                {
                    int rest = w.Width - i;
                    Vector256<float> g = VectorMath.Load(gate + i, rest);
                    VectorMath.Store(g * VectorMath.Sigmoid(g) * VectorMath.Load(up + i, rest), a + i, rest);
                }
            }
        });
    }

    /// <inheritdoc/>
    protected override void SwiGluBackwardCore(Tensor z, Tensor dA, Tensor dZ)
    {
        using WideOperands wide = _wide;
        var work = new Operands
        {
            A = wide.Read(z), B = wide.Read(dA), C = wide.Write(dZ),
            Rows = (int)dA.Shape[0], Width = (int)dA.Shape[1], Step = RowsPerChunk(dA.Shape[1]),
        };
        Parallel.For(work.Chunks, work, static (w, chunk) =>
        {
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                float* gate = w.A + (2 * (nint)t * w.Width), up = gate + w.Width, dA = w.B + ((nint)t * w.Width);
                float* dGate = w.C + (2 * (nint)t * w.Width), dUp = dGate + w.Width;
                for (int i = 0; i < w.Width; i += VectorMath.Lanes)
                {
                    int rest = w.Width - i;
                    Vector256<float> g = VectorMath.Load(gate + i, rest), d = VectorMath.Load(dA + i, rest), s = VectorMath.Sigmoid(g), silu = g * s;

                    // silu' = s + g s (1 - s) = s + silu - silu s
                    Vector256<float> slope = Vector256.FusedMultiplyAdd(-silu, s, silu) + s;
                    VectorMath.Store(d * VectorMath.Load(up + i, rest) * slope, dGate + i, rest);
                    VectorMath.Store(d * silu, dUp + i, rest);
                }
            }
        });
    }

    /// <inheritdoc/>
    protected override void SigmoidGateCore(Tensor x, Tensor gate, Tensor y)
    {
        using WideOperands wide = _wide;
        var work = new Operands
        {
            A = wide.Read(x), B = wide.Read(gate), C = wide.Write(y),
            Rows = (int)x.Shape[0], Width = (int)x.Shape[1], Step = RowsPerChunk(x.Shape[1]),
        };
        Parallel.For(work.Chunks, work, static (w, chunk) =>
        {
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                nint row = (nint)t * w.Width;
                VectorMath.Scaled(VectorMath.Sigmoid(w.B[t]), w.A + row, w.C + row, w.Width);
            }
        });
    }

    /// <inheritdoc/>
    protected override void SigmoidGateBackwardCore(Tensor x, Tensor gate, Tensor dY, Tensor dX, Tensor dGate)
    {
        using WideOperands wide = _wide;
        var work = new Operands
        {
            A = wide.Read(x), B = wide.Read(gate), C = wide.Read(dY), D = wide.Write(dX), E = wide.Write(dGate),
            Rows = (int)x.Shape[0], Width = (int)x.Shape[1], Step = RowsPerChunk(x.Shape[1]),
        };
        Parallel.For(work.Chunks, work, static (w, chunk) =>
        {
            for (int t = chunk * w.Step; t < w.End(chunk); t++)
            {
                nint row = (nint)t * w.Width;
                float s = VectorMath.Sigmoid(w.B[t]);

                // Before dX is written: it may share memory with x or dY.
                w.E[t] = s * VectorMath.Sigmoid(-w.B[t]) * VectorMath.Dot(w.C + row, w.A + row, w.Width);
                VectorMath.Scaled(s, w.C + row, w.D + row, w.Width);
            }
        });
    }

    private static int FlatChunks(long elements) => checked((int)((elements + ElementsPerChunk - 1) / ElementsPerChunk));
}
