using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>Router GEMM and gate of a golden case, and back. Its tensors belong to the scope that is open.</summary>
public sealed class RouterStep
{
    private readonly Backend _backend;
    private readonly RouterSpec _spec;
    private readonly Tensor _x;
    private readonly Tensor _router;

    public RouterStep(Backend backend, GoldenCase golden, RouterSpec spec)
    {
        (_backend, _spec) = (backend, spec);
        (int t, int c) = (golden.Tokens, spec.Columns);
        _x = backend.FromDoubles(golden.Inputs.X, t, golden.Hidden);
        _router = backend.FromDoubles(golden.Router, c, golden.Hidden);
        Logits = backend.Empty(t, c);
        Result = GateResult.Create(backend, t, spec);
        backend.Gemm(_x, _router, false, true, false, Logits);
        backend.Gate(Logits, null, spec, Result);
    }

    /// <summary>[T, C].</summary>
    public Tensor Logits { get; }

    /// <summary>What the gate wrote.</summary>
    public GateResult Result { get; }

    /// <summary>Gradients of x and of the router weights for given gradients of the weights and of the two losses.</summary>
    public (double[] DX, double[] DRouter) Backward(double[] dWeights, double dBalance, double dZ)
    {
        Tensor dLogits = _backend.Empty(Logits.Shape, _backend.FloatType), dX = _backend.Empty(_x.Shape, _backend.FloatType);
        Tensor dRouter = _backend.Empty(_router.Shape, _backend.WideType);
        _backend.GateBackward(
            Logits, Result.Ids, _backend.WideFromDoubles(dWeights, Logits.Shape[0], _spec.TopK), Result.Counts,
            _backend.WideFromDoubles([dBalance], 1), _backend.WideFromDoubles([dZ], 1), _spec, dLogits);
        _backend.Gemm(dLogits, _router, false, false, false, dX);
        _backend.Gemm(dLogits, _x, true, false, false, dRouter);
        return (dX.ToDoubles(), dRouter.ToDoubles());
    }
}
