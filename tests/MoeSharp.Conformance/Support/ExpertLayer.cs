using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>The experts of a layer, forward and backward, through the ops of a backend: ids and weights in, output and all gradients out.</summary>
/// <param name="Output">[T, d].</param>
/// <param name="DX">[T, d], without the router's part.</param>
/// <param name="DW1">[E, 2n, d].</param>
/// <param name="DW2">[E, d, n].</param>
/// <param name="DWeights">[T, K].</param>
public sealed record ExpertLayer(double[] Output, double[] DX, double[] DW1, double[] DW2, double[] DWeights)
{
    /// <summary>Runs dispatch, experts, combine and the backward twins.</summary>
    public static ExpertLayer Run(Backend backend, RouterSpec spec, int[] ids, double[] weights, Inputs inputs)
    {
        using UnrecordedOrigins quiet = UnrecordedOrigins.Begin();
        using var scope = new TensorScope();
        (int t, int d, int n, int k, int e) = (inputs.Tokens, inputs.Hidden, inputs.Width, spec.TopK, spec.Experts);
        int rows = t * k;
        Tensor x = backend.FromDoubles(inputs.X, t, d), dOut = backend.FromDoubles(inputs.DOut, t, d);
        Tensor w1 = backend.FromDoubles(inputs.W1, e, 2 * n, d), w2 = backend.FromDoubles(inputs.W2, e, d, n);
        Tensor id = backend.From<int>(ids, t, k), weight = backend.WideFromDoubles(weights, t, k);
        RoutingPlan plan = RoutingPlan.Create(backend, t, spec);
        Tensor z = backend.Empty(rows, 2 * n), a = backend.Empty(rows, n), y = backend.Empty(rows, d), output = backend.Empty(t, d);
        backend.Dispatch(id, weight, null, plan);
        backend.ExpertUp(x, w1, plan, z, a);
        backend.ExpertDown(a, w2, plan, y);
        backend.Combine(y, x, id, weight, plan, spec, output);

        Tensor dZ = backend.Empty(rows, 2 * n), dRowWeight = backend.EmptyWide(rows), dXRows = backend.Empty(rows, d);
        Tensor dX = backend.Empty(t, d), dWeights = backend.EmptyWide(t, k), dW1 = backend.EmptyWide(e, 2 * n, d), dW2 = backend.EmptyWide(e, d, n);
        backend.Fill(dW1, 0);
        backend.Fill(dW2, 0);
        backend.ExpertDownBackward(dOut, z, w2, plan, dZ, a, dRowWeight);
        backend.ExpertDownWeightGrad(dOut, a, plan, dW2);
        backend.ExpertUpBackward(dZ, w1, plan, dXRows);
        backend.ExpertUpWeightGrad(dZ, x, plan, dW1);
        backend.CombineBackward(dXRows, dRowWeight, dOut, x, id, weight, plan, spec, dX, dWeights);
        return new(output.ToDoubles(), dX.ToDoubles(), dW1.ToDoubles(), dW2.ToDoubles(), dWeights.ToDoubles());
    }

    /// <summary>What a layer computes with.</summary>
    /// <param name="Tokens">T.</param>
    /// <param name="Hidden">d.</param>
    /// <param name="Width">n.</param>
    /// <param name="X">[T, d].</param>
    /// <param name="W1">[E, 2n, d].</param>
    /// <param name="W2">[E, d, n].</param>
    /// <param name="DOut">[T, d].</param>
    public sealed record Inputs(int Tokens, int Hidden, int Width, double[] X, double[] W1, double[] W2, double[] DOut);
}
