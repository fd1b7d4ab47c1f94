using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>The experts as plain loops: what the fused kernels are compared with.</content>
/// <remarks>No op of the contract: the work is that of every slot on its own, without a plan, so a mistake in sorting or tiling cannot repeat itself here.</remarks>
public sealed partial class CudaBackend
{
    private const int SimpleThreads = 256;

    /// <summary>a[slot] = swiglu(x[token] W1[expert]^T) of every slot with a real expert; other slots are not written.</summary>
    /// <param name="x">Float [T, d].</param>
    /// <param name="w1">Float [E, 2n, d].</param>
    /// <param name="ids">Int32 [T, K].</param>
    /// <param name="a">Float [T, K, n].</param>
    internal void SimpleHidden(Tensor x, Tensor w1, Tensor ids, Tensor a)
    {
        int experts = (int)w1.Shape[0], d = (int)w1.Shape[2], n = (int)a.Shape[2], topK = (int)ids.Shape[1];
        if (a.ElementCount > 0)
        {
            Launch(Key("moe/moe_simple.cu"), "moe_simple_hidden", SimpleShape(a), x, w1, ids, a, ids.ElementCount, topK, experts, d, n);
        }
    }

    /// <summary>output = sum over real slots of weight * (a[slot] W2[expert]^T), plus x times the weights of identity nulls.</summary>
    /// <param name="a">Float [T, K, n].</param>
    /// <param name="w2">Float [E, d, n].</param>
    /// <param name="x">Float [T, d].</param>
    /// <param name="ids">Int32 [T, K].</param>
    /// <param name="weights">Wide [T, K].</param>
    /// <param name="spec">The kinds of the null slots.</param>
    /// <param name="output">Float [T, d].</param>
    internal void SimpleOutput(Tensor a, Tensor w2, Tensor x, Tensor ids, Tensor weights, RouterSpec spec, Tensor output)
    {
        int tokens = (int)output.Shape[0], d = (int)output.Shape[1], n = (int)w2.Shape[2];
        if (output.ElementCount > 0)
        {
            Launch(
                Key("moe/moe_simple.cu"), "moe_simple_output", SimpleShape(output),
                [a, w2, x, ids, weights, output, tokens, spec.TopK, spec.Experts, d, n, .. RouterArguments.Of(spec).Nulls]);
        }
    }

    private LaunchShape SimpleShape(Tensor result) => new(Blocks((result.ElementCount + SimpleThreads - 1) / SimpleThreads), SimpleThreads);
}
