using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>
/// Cross-entropy. Kernels: dense/cross_entropy.cu. The loss of a target beyond the vocabulary is NaN, and so is the mean: a kernel cannot
/// throw, but the mistake must not go unseen.
/// </content>
public sealed partial class CudaBackend
{
    /// <summary>From this vocabulary on a row gets a block of 512 threads, below one of 128.</summary>
    private const int LargeVocabulary = 2048;

    /// <inheritdoc/>
    protected override void CrossEntropyCore(Tensor logits, Tensor targets, Tensor losses, Tensor logSumExp, Tensor mean)
    {
        int rows = (int)logits.Shape[0], width = (int)logits.Shape[1];
        KernelKey kernel = Key("dense/cross_entropy.cu");
        if (rows > 0)
        {
            Launch(
                kernel, "cross_entropy", new LaunchShape(Blocks(rows), width >= LargeVocabulary ? 512 : 128, ReductionBytes),
                logits, targets, losses, logSumExp, rows, width, Vectorizable(width, logits) ? 1 : 0);
        }

        Launch(kernel, "cross_entropy_mean", new LaunchShape(1, 1024, ReductionBytes), losses, targets, mean, rows);
    }

    /// <inheritdoc/>
    protected override void CrossEntropyBackwardCore(Tensor logits, Tensor targets, Tensor logSumExp, Tensor dMean, Tensor dLogits)
    {
        int rows = (int)logits.Shape[0], width = (int)logits.Shape[1];
        if (dLogits.ElementCount == 0)
        {
            return;
        }

        nint scale = Scratch(CudaWorkspace.CrossEntropyBackward());
        KernelKey kernel = Key("dense/cross_entropy.cu");
        Launch(kernel, "cross_entropy_scale", new LaunchShape(1, 1024, ReductionBytes), targets, dMean, scale, rows);
        Launch(
            kernel, "cross_entropy_backward", new LaunchShape(RowBlocks(rows, width), RowThreads),
            logits, targets, logSumExp, scale, dLogits, rows, width, Vectorizable(width, logits, dLogits) ? 1 : 0);
    }
}
