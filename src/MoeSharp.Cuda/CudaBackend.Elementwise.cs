using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>Element-wise ops and biases. Kernels: dense/elementwise.cu, bias.cu, swiglu.cu. Add, axpy and scale are one kernel, y = alpha a + b.</content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void AddCore(Tensor a, Tensor b, Tensor y) => ScaledSum(1, a, b, y);

    /// <inheritdoc/>
    protected override void AxpyCore(double alpha, Tensor x, Tensor y) => ScaledSum(alpha, x, y, y);

    /// <inheritdoc/>
    protected override void ScaleCore(Tensor x, double alpha, Tensor y) => ScaledSum(alpha, x, null, y);

    /// <inheritdoc/>
    protected override void FillCore(Tensor y, double value)
    {
        if (y.ElementCount > 0)
        {
            Launch(Key("dense/elementwise.cu"), OfType("fill", y), FlatShape(y), y, (float)value, y.ElementCount, Aligned(y));
        }
    }

    /// <inheritdoc/>
    protected override void AddBiasCore(Tensor x, Tensor bias, Tensor y)
    {
        int rows = (int)x.Shape[0], width = (int)x.Shape[1];
        if (y.ElementCount > 0)
        {
            Launch(
                Key("dense/bias.cu"), "add_bias", new LaunchShape(RowBlocks(rows, width), RowThreads),
                x, bias, y, rows, width, Vectorizable(width, x, bias, y) ? 1 : 0);
        }
    }

    /// <inheritdoc/>
    protected override void AddBiasBackwardCore(Tensor dY, Tensor dBias)
    {
        int rows = (int)dY.Shape[0], width = (int)dY.Shape[1];
        if (dY.ElementCount == 0)
        {
            return;
        }

        int rowsPerChunk = CudaWorkspace.RowsPerChunk(rows);
        long chunks = CudaWorkspace.Chunks(rows, rowsPerChunk);
        nint partials = Scratch(CudaWorkspace.AddBiasBackward(rows, width));
        Launch(
            Key("dense/bias.cu"), "column_partials", new LaunchShape(Blocks(chunks), RowThreads, ColumnBytes),
            dY, partials, rows, width, rowsPerChunk, Vectorizable(width, dY) ? 1 : 0);
        FinishColumns(partials, chunks, width, dBias);
    }

    /// <inheritdoc/>
    protected override void SwiGluCore(Tensor z, Tensor a)
    {
        int rows = (int)a.Shape[0], width = (int)a.Shape[1];
        if (a.ElementCount > 0)
        {
            Launch(
                Key("dense/swiglu.cu"), "swiglu", new LaunchShape(RowBlocks(rows, width), RowThreads),
                z, a, rows, width, Vectorizable(width, z, a) ? 1 : 0);
        }
    }

    /// <inheritdoc/>
    protected override void SwiGluBackwardCore(Tensor z, Tensor dA, Tensor dZ)
    {
        int rows = (int)dA.Shape[0], width = (int)dA.Shape[1];
        if (dA.ElementCount > 0)
        {
            Launch(
                Key("dense/swiglu.cu"), "swiglu_backward", new LaunchShape(RowBlocks(rows, width), RowThreads),
                z, dA, dZ, rows, width, Vectorizable(width, z, dA, dZ) ? 1 : 0);
        }
    }

    /// <inheritdoc/>
    protected override void SigmoidGateCore(Tensor x, Tensor gate, Tensor y)
    {
        int rows = (int)x.Shape[0], width = (int)x.Shape[1];
        if (y.ElementCount > 0)
        {
            Launch(
                Key("dense/swiglu.cu"), "sigmoid_gate", new LaunchShape(RowBlocks(rows, width), RowThreads),
                x, gate, y, rows, width, Vectorizable(width, x, y) ? 1 : 0);
        }
    }

    /// <inheritdoc/>
    protected override void SigmoidGateBackwardCore(Tensor x, Tensor gate, Tensor dY, Tensor dX, Tensor dGate)
    {
        int rows = (int)x.Shape[0], width = (int)x.Shape[1];
        if (rows > 0)
        {
            Launch(
                Key("dense/swiglu.cu"), "sigmoid_gate_backward", new LaunchShape(Blocks(CudaWorkspace.Chunks(rows, RowWarps)), RowThreads),
                x, gate, dY, dX, dGate, rows, width, Vectorizable(width, x, dY, dX) ? 1 : 0);
        }
    }

    private void ScaledSum(double alpha, Tensor a, Tensor? b, Tensor y)
    {
        if (y.ElementCount > 0)
        {
            Launch(
                Key("dense/elementwise.cu"), OfType("scaled_sum", y), FlatShape(y),
                a, b, y, (float)alpha, y.ElementCount, b is null ? Aligned(a, y) : Aligned(a, b, y));
        }
    }

    /// <summary>The entry for the tensor's type: the float type, or float32 beside it.</summary>
    private string OfType(string entry, Tensor tensor) => tensor.DType == FloatType ? entry : entry + "_wide";

    /// <summary>A thread per 16 bytes.</summary>
    private LaunchShape FlatShape(Tensor tensor) => new(Blocks(CudaWorkspace.Chunks(tensor.ByteCount, 16L * RowThreads)), RowThreads);

    /// <summary>1 if all tensors start on 16 bytes: what kernels over flat arrays need, which treat the last elements one by one.</summary>
    private int Aligned(params ReadOnlySpan<Tensor> tensors) => Vectorizable(VectorLength, tensors) ? 1 : 0;
}
