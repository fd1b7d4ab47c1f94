using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>One table: operation to backward rule.</summary>
/// <remarks>
/// In a rule, X are the forward inputs, D is the gradient of the output, P are parameters, whose gradients the ops accumulate in place.
/// New makes a gradient, Give hands it to an input (and drops it when the input wants none), Pass hands on D itself, Sink is a buffer
/// that already holds what came from elsewhere. The formulas are those of the backend's ops.
/// </remarks>
public static class GradientRules
{
    private static readonly Dictionary<TapeOp, Action<GradientFlow>> s_rules = new()
    {
        [TapeOp.Add] = g => { g.Pass(0); g.Pass(1); },
        [TapeOp.Reshape] = g => g.Pass(0),
        [TapeOp.Scale] = g => { Tensor dX = g.New(0); g.Backend.Scale(g.D, g.Argument<double>(), dX); g.Give(0, dX); },
        [TapeOp.Linear] = Linear,
        [TapeOp.Embedding] = g => g.Backend.EmbeddingBackward(g.D, g.Argument<Tensor>(), g.P(0).Gradient),
        [TapeOp.RmsNorm] = g =>
        {
            Tensor dX = g.New(0);
            g.Backend.RmsNormBackward(g.X(0), g.P(0).Value, g.Saved(0), g.D, dX, g.P(0).Gradient);
            g.Give(0, dX);
        },
        [TapeOp.Normalize] = g =>
        {
            // The gradient of the weight that is not there goes nowhere.
            (Tensor dX, Tensor dWeight) = (g.New(0), g.WideWork(g.X(0).Shape[1]));
            g.Backend.Fill(dWeight, 0);
            g.Backend.RmsNormBackward(g.X(0), g.Saved(1), g.Saved(0), g.D, dX, dWeight);
            g.Done(dWeight);
            g.Give(0, dX);
        },
        [TapeOp.Product] = g =>
        {
            (Tensor dA, Tensor dB) = (g.New(0), g.New(1));
            g.Backend.Gemm(g.D, g.X(1), transposeA: false, transposeB: false, accumulate: false, dA);
            g.Backend.Gemm(g.D, g.X(0), transposeA: true, transposeB: false, accumulate: false, dB);
            g.Give(0, dA);
            g.Give(1, dB);
        },
        [TapeOp.Use] = Use,
        [TapeOp.Rope] = g =>
        {
            (Tensor positions, RopeSpec rope) = g.Argument<(Tensor, RopeSpec)>();
            Tensor dX = g.New(0);
            g.Backend.Rope(g.D, positions, rope, inverse: true, dX);
            g.Give(0, dX);
        },
        [TapeOp.Attention] = g =>
        {
            (Tensor dQ, Tensor dK, Tensor dV) = (g.New(0), g.New(1), g.New(2));
            g.Backend.AttentionBackward(g.X(0), g.X(1), g.X(2), g.Y, g.Saved(0), g.D, g.Argument<AttentionSpec>(), dQ, dK, dV);
            g.Give(0, dQ);
            g.Give(1, dK);
            g.Give(2, dV);
        },
        [TapeOp.SwiGlu] = g => { Tensor dZ = g.New(0); g.Backend.SwiGluBackward(g.X(0), g.D, dZ); g.Give(0, dZ); },
        [TapeOp.SigmoidGate] = g =>
        {
            (Tensor dX, Tensor dGate) = (g.New(0), g.New(1));
            g.Backend.SigmoidGateBackward(g.X(0), g.X(1), g.D, dX, dGate);
            g.Give(0, dX);
            g.Give(1, dGate);
        },
        [TapeOp.CrossEntropy] = g =>
        {
            Tensor dLogits = g.New(0);
            g.Backend.CrossEntropyBackward(g.X(0), g.Argument<Tensor>(), g.Saved(0), g.D, dLogits);
            g.Give(0, dLogits);
        },
        [TapeOp.Gate] = g =>
        {
            (GateResult result, Tensor loads, RouterSpec spec) = g.Argument<(GateResult, Tensor, RouterSpec)>();
            (Tensor dWeights, Tensor dBalance, Tensor dZ) = (g.DOrZero(0), g.DOrZero(1), g.DOrZero(2));
            Tensor dLogits = g.New(0);
            g.Backend.GateBackward(g.X(0), result.Ids, dWeights, loads, dBalance, dZ, spec, dLogits);
            g.Done(dWeights, dBalance, dZ);
            g.Give(0, dLogits);
        },
        [TapeOp.NoisyLogits] = g =>
        {
            Tensor dSpread = g.New(1);
            g.Backend.NoisyLogitsBackward(g.X(1), g.Saved(0), g.D, dSpread);
            g.Pass(0);
            g.Give(1, dSpread);
        },
        [TapeOp.NoisyBalance] = g =>
        {
            (Tensor ids, RouterSpec spec) = g.Argument<(Tensor, RouterSpec)>();
            (Tensor dLogits, Tensor dSpread, Tensor dNoisy, Tensor dWeights) = (g.New(0), g.New(1), g.New(2), g.New(3));
            g.Backend.NoisyBalanceBackward(
                g.X(0), g.X(1), g.X(2), ids, g.Saved(0), g.Saved(1), g.D, spec, dLogits, dSpread, dNoisy, dWeights);
            g.Give(0, dLogits);
            g.Give(1, dSpread);
            g.Give(2, dNoisy);
            g.Give(3, dWeights);
        },
        [TapeOp.Experts] = Experts,
        [TapeOp.Quantize] = g =>
        {
            (Tensor codes, QuantizerSpec spec) = g.Argument<(Tensor, QuantizerSpec)>();
            (Tensor dY, Tensor dLoss, Tensor dX) = (g.DOrZero(0), g.DOrZero(1), g.New(0));
            g.Backend.QuantizeBackward(g.X(0), g.P(0).Value, codes, dLoss, dY, spec, dX, g.P(0).Gradient);
            g.Done(dY, dLoss);
            g.Give(0, dX);
        },
        [TapeOp.Project] = g =>
        {
            (Tensor weight, bool back) = g.Argument<(Tensor, bool)>();
            Tensor dX = g.New(0);
            g.Backend.Gemm(g.D, weight, transposeA: false, transposeB: back, accumulate: false, dX);
            g.Give(0, dX);
        },
        [TapeOp.ConstantExperts] = ConstantExperts,
    };

    /// <summary>Whether an operation has a rule.</summary>
    public static bool Contains(TapeOp op) => s_rules.ContainsKey(op);

    internal static void Apply(GradientFlow flow) => s_rules[flow.Op](flow);

    private static void Use(GradientFlow g)
    {
        // A column sum over one row adds the float type to the wide type.
        Parameter parameter = g.P(0);
        using Tensor row = g.D.View(new Shape(1, g.D.ElementCount)), sum = parameter.Gradient.View(new Shape(g.D.ElementCount));
        g.Backend.AddBiasBackward(row, sum);
    }

    private static void Linear(GradientFlow g)
    {
        // dX = D W, added to what is there; dW += D^T X; db += column sums of D.
        if (g.Wants(0))
        {
            Tensor dX = g.Sink(0, out bool accumulate);
            g.Backend.Gemm(g.D, g.P(0).Value, transposeA: false, transposeB: false, accumulate, dX);
            g.Give(0, dX);
        }

        g.Backend.Gemm(g.D, g.X(0), transposeA: true, transposeB: false, accumulate: true, g.P(0).Gradient);
        if (g.Has(1))
        {
            g.Backend.AddBiasBackward(g.D, g.P(1).Gradient);
        }
    }

    private static void Experts(GradientFlow g)
    {
        // Saved: z. weightedA = w a and dZ come from one pass over dOut W2; y and the gathered rows are never needed.
        (RoutingPlan plan, GateResult gate, RouterSpec spec) = g.Argument<(RoutingPlan, GateResult, RouterSpec)>();
        (Parameter w1, Parameter w2) = (g.P(0), g.P(1));
        long rows = plan.Capacity, n = w2.Value.Shape[2], d = w2.Value.Shape[1];
        (Tensor dZ, Tensor weightedA, Tensor dRowWeight) = (g.Work(rows, 2 * n), g.Work(rows, n), g.WideWork(rows));
        g.Backend.ExpertDownBackward(g.D, g.Saved(0), w2.Value, plan, dZ, weightedA, dRowWeight);
        g.Backend.ExpertDownWeightGrad(g.D, weightedA, plan, w2.Gradient);
        g.Done(weightedA);
        g.Backend.ExpertUpWeightGrad(dZ, g.X(0), plan, w1.Gradient);
        (Tensor dXRows, Tensor dX, Tensor dWeights) = (g.Work(rows, d), g.New(0), g.New(1));
        g.Backend.ExpertUpBackward(dZ, w1.Value, plan, dXRows);
        g.Done(dZ);
        g.Backend.CombineBackward(dXRows, dRowWeight, g.D, g.X(0), gate.Ids, gate.Weights, plan, spec, dX, dWeights);
        g.Done(dXRows, dRowWeight);
        g.Give(0, dX);
        g.Give(1, dWeights);
    }

    private static void ConstantExperts(GradientFlow g)
    {
        // Inputs: x, mix, gate weights, and the output that was added to, which gets D unchanged.
        (GateResult gate, RouterSpec spec) = g.Argument<(GateResult, RouterSpec)>();
        (Tensor dX, Tensor dMix, Tensor dWeights) = (g.ZeroedSink(0), g.New(1), g.ZeroedSink(2));
        g.Backend.ConstantExpertsBackward(
            g.X(0), g.X(1), g.P(0).Value, gate.Ids, gate.Weights, g.D, spec, dX, dMix, g.P(0).Gradient, dWeights);
        g.Give(0, dX);
        g.Give(1, dMix);
        g.Give(2, dWeights);
        g.Pass(3);
    }
}
