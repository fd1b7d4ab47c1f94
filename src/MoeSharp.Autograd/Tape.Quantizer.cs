using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <content>Vector quantisation.</content>
public sealed partial class Tape
{
    /// <summary>Every row's nearest code, the row mixed with it, straight through to the gradient, and the loss of the codebook; see <see cref="Backend.Quantize"/>.</summary>
    /// <param name="x">[T, d].</param>
    /// <param name="codebook">[N, d].</param>
    /// <param name="spec">Distance, mix and commitment.</param>
    public QuantizeNode Quantize(Variable x, Parameter codebook, QuantizerSpec spec)
    {
        long t = x.Shape[0];
        Tensor y = RentLike(x.Value), codes = Rent(DType.Int32, t), distances = Wide(t), loss = Wide(1);
        Backend.Quantize(x.Value, codebook.Value, spec, codes, distances, loss, y);
        Return(distances);
        bool needs = Needs([x], [codebook]);
        var node = new QuantizeNode(new Variable(y, needs), new Variable(loss, needs), codes);
        Record(TapeOp.Quantize, [node.Output, node.Loss], [x], [codebook], [], (codes, spec));
        return node;
    }

    /// <summary>The routing in which every token goes to the expert of its code, with weight 1 and no auxiliary losses.</summary>
    /// <param name="codes">Int32 [T], from <see cref="Quantize"/>.</param>
    /// <param name="map">Int32 [N]: expert of each code.</param>
    /// <param name="spec">One slot per token, no null slots.</param>
    public GateNode AssignCodes(Tensor codes, Tensor map, RouterSpec spec)
    {
        long t = codes.ElementCount;
        Guard.That(spec.TopK == 1 && spec.NullSlots == 0, $"A code names one expert per token; the spec has {spec.TopK} slots and {spec.NullSlots} null ones.");
        var result = new GateResult(
            Rent(DType.Int32, t, 1),
            Wide(t, 1),
            Rent(DType.Int32, spec.Experts),
            Rent(DType.Int32, RoutingPlan.Chunks(t), spec.Experts),
            Wide(spec.Experts),
            Wide(1),
            Wide(1));
        Backend.AssignCodes(codes, map, result.Ids, result.Counts, result.ChunkCounts);
        Backend.Fill(result.Weights, 1);
        foreach (Tensor none in (ReadOnlySpan<Tensor>)[result.ProbabilitySums, result.BalanceLoss, result.ZLoss])
        {
            Backend.Fill(none, 0);
        }

        return new GateNode(new Variable(result.Weights, false), new Variable(result.BalanceLoss, false), new Variable(result.ZLoss, false), result);
    }

    /// <summary>Product with a matrix that is not trained: x W^T, or back, x W.</summary>
    /// <param name="x">[T, in], or [T, out] when back.</param>
    /// <param name="weight">Float [out, in], borrowed until backward.</param>
    /// <param name="back">Whether the product is x W.</param>
    public Variable Project(Variable x, Tensor weight, bool back)
    {
        Tensor y = Float(x.Shape[0], weight.Shape[back ? 1 : 0]);
        Backend.Gemm(x.Value, weight, transposeA: false, transposeB: !back, accumulate: false, y);
        return Record(TapeOp.Project, y, [x], [], [], (weight, back));
    }
}
