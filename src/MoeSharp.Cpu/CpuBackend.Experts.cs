using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <content>
/// The expert products. Each is one call of <see cref="GroupedGemm"/> with a group per expert that has rows: gathers happen while
/// packing, SwiGLU and its gradient while the result is in cache, and cost follows the real rows.
/// </content>
public sealed unsafe partial class CpuBackend
{
    /// <inheritdoc/>
    protected override void ExpertUpCore(Tensor x, Tensor w1, RoutingPlan plan, Tensor z, Tensor a)
    {
        int d = (int)x.Shape[1], n = (int)a.Shape[1];
        var epilogue = new ExpertEpilogue
        {
            Kind = GemmEpilogueKind.SwiGlu, Width = n, Z = (void*)z.Pointer, A = (void*)a.Pointer,
        };
        RowProducts(plan, x, gather: true, w1, weightsDepthMajor: false, d, n, half: n, z, epilogue);
    }

    /// <inheritdoc/>
    protected override void ExpertDownCore(Tensor a, Tensor w2, RoutingPlan plan, Tensor y) =>
        RowProducts(
            plan, a, gather: false, w2, weightsDepthMajor: false, (int)a.Shape[1], (int)y.Shape[1], half: 0, y, default);

    /// <inheritdoc/>
    protected override void ExpertDownBackwardCore(
        Tensor dOut, Tensor z, Tensor w2, RoutingPlan plan, Tensor dZ, Tensor weightedA, Tensor dRowWeight)
    {
        int d = (int)dOut.Shape[1], n = (int)weightedA.Shape[1];

        // dA' is written where weightedA will stand and turned into it row by row.
        var epilogue = new ExpertEpilogue
        {
            Kind = GemmEpilogueKind.SwiGluBackward,
            Width = n,
            Z = (void*)z.Pointer,
            A = (void*)weightedA.Pointer,
            DZ = (void*)dZ.Pointer,
            RowWeight = (float*)plan.RowWeight.Pointer,
            DRowWeight = (float*)dRowWeight.Pointer,
        };
        RowProducts(plan, dOut, gather: true, w2, weightsDepthMajor: true, d, n, half: 0, weightedA, epilogue);
    }

    /// <inheritdoc/>
    protected override void ExpertDownWeightGradCore(Tensor dOut, Tensor weightedA, RoutingPlan plan, Tensor dW2) =>
        WeightGradients(plan, dOut, gatherLeft: true, weightedA, gatherRight: false, dW2);

    /// <inheritdoc/>
    protected override void ExpertUpBackwardCore(Tensor dZ, Tensor w1, RoutingPlan plan, Tensor dXRows) =>
        RowProducts(
            plan, dZ, gather: false, w1, weightsDepthMajor: true, (int)dZ.Shape[1], (int)dXRows.Shape[1], half: 0, dXRows, default);

    /// <inheritdoc/>
    protected override void ExpertUpWeightGradCore(Tensor dZ, Tensor x, RoutingPlan plan, Tensor dW1) =>
        WeightGradients(plan, dZ, gatherLeft: false, x, gatherRight: true, dW1);

    /// <summary>result[rows of e] = source[rows of e] weights[e], or weights[e]^T when k runs along its rows.</summary>
    private void RowProducts(
        RoutingPlan plan,
        Tensor source,
        bool gather,
        Tensor weights,
        bool weightsDepthMajor,
        int depth,
        int columns,
        int half,
        Tensor result,
        in ExpertEpilogue epilogue)
    {
        var offsets = (int*)plan.Offsets.Pointer;
        var tokens = (int*)plan.RowToken.Pointer;
        nint stride = (nint)result.Shape[1], perExpert = (nint)(weights.Shape[1] * weights.Shape[2]);
        using Lock.Scope scope = _gemm.Enter();
        _gemm.Begin(plan.Experts, columns, half, stride, result.DType, add: false, epilogue);
        for (int e = 0; e < plan.Experts; e++)
        {
            int first = offsets[e];
            var matrix = new GemmOperand
            {
                Data = At(weights, e * perExpert), Stride = (nint)weights.Shape[2], DepthMajor = weightsDepthMajor, Reading = Stored(weights),
            };
            void* target = At(result, first * stride);
            _gemm.Group(Rows(source, gather, tokens, first), matrix, target, offsets[e + 1] - first, depth, first);
        }

        _gemm.Run();
    }

    /// <summary>gradient[e] += left[rows of e]^T right[rows of e], rows in ascending order.</summary>
    private void WeightGradients(
        RoutingPlan plan, Tensor left, bool gatherLeft, Tensor right, bool gatherRight, Tensor gradient)
    {
        var offsets = (int*)plan.Offsets.Pointer;
        var tokens = (int*)plan.RowToken.Pointer;
        int height = (int)gradient.Shape[1], width = (int)gradient.Shape[2];
        using Lock.Scope scope = _gemm.Enter();
        _gemm.Begin(plan.Experts, width, 0, width, gradient.DType, add: true, default);
        for (int e = 0; e < plan.Experts; e++)
        {
            int first = offsets[e];
            GemmOperand a = Rows(left, gatherLeft, tokens, first);
            GemmOperand b = Rows(right, gatherRight, tokens, first);
            a.DepthMajor = b.DepthMajor = true;
            void* target = At(gradient, (nint)e * height * width);
            _gemm.Group(a, b, target, height, offsets[e + 1] - first, 0);
        }

        _gemm.Run();
    }

    private static GemmOperand Rows(Tensor source, bool gather, int* tokens, int first)
    {
        nint stride = (nint)source.Shape[1];
        return new GemmOperand
        {
            Data = At(source, gather ? 0 : first * stride),
            Stride = stride,
            Lines = gather ? tokens + first : null,
            Reading = Stored(source),
        };
    }

    private static void* At(Tensor tensor, nint element) => (byte*)tensor.Pointer + (element * tensor.DType.Size());
}
