using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>
/// Vector quantisation. Kernels: moe/quantize.cu, and the token sort of dense/embedding.cu for the gradient of the codebook. A code outside the
/// book counts as the nearest one, for a kernel cannot throw.
/// </content>
public sealed partial class CudaBackend
{
    private const int QuantizerThreads = 256;

    // Of moe/quantize.cu: rows of a block, and its shared memory: two slices of 32 padded columns and a code per row.
    private const int QuantizerRows = 64;
    private const int QuantizerBytes = sizeof(float) * ((32 * (QuantizerRows + 1)) + (32 * (32 + 1)) + QuantizerRows);

    /// <inheritdoc/>
    protected override void QuantizeCore(Tensor x, Tensor codebook, QuantizerSpec spec, Tensor codes, Tensor distances, Tensor loss, Tensor y)
    {
        int tokens = (int)x.Shape[0], count = (int)codebook.Shape[0], width = (int)x.Shape[1];
        KernelKey key = Key("moe/quantize.cu");
        nint rowInverses = 0, codeInverses = 0;
        if (tokens > 0)
        {
            if (spec.Distance == CodeDistance.Cosine)
            {
                codeInverses = Scratch(CudaWorkspace.Quantize(tokens, count));
                rowInverses = codeInverses + (sizeof(float) * count);
                Launch(key, "quantize_inverses", WarpPerRow(count), codebook, codeInverses, count, width);
                Launch(key, "quantize_inverses", WarpPerRow(tokens), x, rowInverses, tokens, width);
            }

            Launch(
                key, "quantize", new LaunchShape(Blocks(CudaWorkspace.Chunks(tokens, QuantizerRows)), QuantizerThreads, QuantizerBytes),
                x, codebook, rowInverses, codeInverses, codes, distances, y, tokens, count, width, (float)spec.Carry, (float)spec.Mix,
                Vectorizable(width, x, codebook, y) ? 1 : 0);
        }

        float factor = x.ElementCount == 0 ? 0f : (float)((1 + spec.Commitment) / x.ElementCount);
        Launch(key, "quantize_loss", new LaunchShape(1, MaxThreads, ReductionBytes), distances, loss, tokens, factor);
    }

    /// <inheritdoc/>
    protected override void QuantizeBackwardCore(
        Tensor x, Tensor codebook, Tensor codes, Tensor dLoss, Tensor dY, QuantizerSpec spec, Tensor dX, Tensor dCodebook)
    {
        int tokens = (int)x.Shape[0], count = (int)codebook.Shape[0], width = (int)x.Shape[1];
        if (x.ElementCount == 0)
        {
            return;
        }

        var layout = new CudaWorkspace.EmbeddingBackwardLayout(tokens, 0);
        nint scratch = Scratch(CudaWorkspace.QuantizeBackward(tokens)), shares = scratch + (nint)layout.Bytes;
        nint order = SortTokens(codes, tokens, count, scratch, layout);
        float slope = (float)(2.0 / x.ElementCount);
        KernelKey key = Key("moe/quantize.cu");
        Launch(
            key, "quantize_backward", WarpPerRow(tokens),
            x, codebook, codes, dLoss, dY, dX, shares, tokens, count, width, slope, (float)spec.Carry, (float)spec.Commitment,
            spec.Distance == CodeDistance.Cosine ? 1 : 0);
        Launch(
            key, "quantize_codebook", new LaunchShape(Blocks(count * CudaWorkspace.Chunks(width, 32)), QuantizerThreads, QuantizerThreads * sizeof(float)),
            x, codebook, codes, order, shares, dLoss, dCodebook, tokens, count, width, slope);
    }

    /// <inheritdoc/>
    protected override void AssignCodesCore(Tensor codes, Tensor map, Tensor ids, Tensor counts, Tensor chunkCounts)
    {
        int tokens = (int)codes.ElementCount, experts = (int)counts.ElementCount, chunks = (int)RoutingPlan.Chunks(tokens);
        KernelKey key = Key("moe/quantize.cu");
        if (tokens > 0)
        {
            Launch(key, "assign_codes", new LaunchShape(Blocks(CudaWorkspace.Chunks(tokens, QuantizerThreads)), QuantizerThreads), codes, map, ids, tokens, (int)map.ElementCount);
            Launch(Key("moe/dispatch.cu"), "dispatch_count", new LaunchShape(Blocks(chunks), RoutingThreads, experts * sizeof(int)), ids, chunkCounts, tokens, 1, experts);
        }

        if (experts > 0)
        {
            Launch(key, "assign_counts", new LaunchShape(Blocks(CudaWorkspace.Chunks(experts, QuantizerThreads)), QuantizerThreads), chunkCounts, counts, chunks, experts);
        }
    }

    /// <inheritdoc/>
    protected override void CodeUsageCore(Tensor codes, double decay, Tensor usage)
    {
        int tokens = (int)codes.ElementCount, count = (int)usage.ElementCount;
        if (tokens > 0 && count > 0)
        {
            Launch(
                Key("moe/quantize.cu"), "code_usage", new LaunchShape(Blocks(count), QuantizerThreads, QuantizerThreads / 32 * sizeof(int)),
                codes, usage, tokens, count, (float)decay, (float)(1 - decay));
        }
    }

    /// <inheritdoc/>
    protected override void ReviveCodesCore(Tensor anchors, Tensor usage, double decay, double reserve, Tensor master, Tensor codebook)
    {
        long elements = codebook.ElementCount;
        if (elements > 0)
        {
            Launch(
                Key("moe/quantize.cu"), "revive_codes", new LaunchShape(Blocks(CudaWorkspace.Chunks(elements, QuantizerThreads)), QuantizerThreads),
                anchors, usage, master, codebook, (int)codebook.Shape[1], elements, (float)(10.0 * usage.ElementCount / (1 - decay)), (float)reserve);
        }
    }

    private LaunchShape WarpPerRow(int rows) => new(Blocks(CudaWorkspace.Chunks(rows, QuantizerThreads / 32)), QuantizerThreads);
}
