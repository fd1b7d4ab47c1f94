using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <content>
/// Optimizer ops. Kernels: optimizer/grad_norm.cu, adamw.cu. The norm takes a launch per gradient and one to finish, for a list of pointers
/// would have to be copied to the device; squares are summed in double.
/// </content>
public sealed partial class CudaBackend
{
    /// <inheritdoc/>
    protected override void GradNormCore(IReadOnlyList<Tensor> gradients, Tensor norm)
    {
        KernelKey kernel = Key("optimizer/grad_norm.cu");
        long bytes = CudaWorkspace.GradNorm(gradients), done = 0;
        nint partials = bytes == 0 ? 0 : Scratch(bytes);
        for (int i = 0; i < gradients.Count; i++)
        {
            Tensor gradient = gradients[i];
            long chunks = CudaWorkspace.Chunks(gradient.ElementCount, CudaWorkspace.NormChunk);
            if (chunks > 0)
            {
                Launch(
                    kernel, "grad_norm_partials", new LaunchShape(Blocks(chunks), RowThreads, 32 * sizeof(double)),
                    gradient, partials + (nint)(done * sizeof(double)), gradient.ElementCount, Aligned(gradient));
                done += chunks;
            }
        }

        Launch(kernel, "grad_norm_finish", new LaunchShape(1, 1024, 32 * sizeof(double)), partials, norm, done);
    }

    /// <inheritdoc/>
    protected override void ClipFactorCore(Tensor norm, double maxNorm, Tensor factor) =>
        Launch(Key("optimizer/grad_norm.cu"), "clip_factor", new LaunchShape(1, 32), norm, factor, (float)maxNorm);

    /// <inheritdoc/>
    protected override void AdamWCore(Tensor gradient, Tensor factor, AdamWStep step, Tensor master, Tensor firstMoment, Tensor secondMoment, Tensor parameter)
    {
        if (parameter.ElementCount == 0)
        {
            return;
        }

        Launch(
            Key("optimizer/adamw.cu"), "adamw", new LaunchShape(Blocks(CudaWorkspace.Chunks(parameter.ElementCount, 4L * RowThreads)), RowThreads),
            gradient, factor, master, firstMoment, secondMoment, parameter, parameter.ElementCount,
            (float)step.Beta1, (float)(1 - step.Beta1), (float)step.Beta2, (float)(1 - step.Beta2),
            (float)(1 / (1 - Math.Pow(step.Beta1, step.Step))), (float)(1 / (1 - Math.Pow(step.Beta2, step.Step))),
            (float)step.Epsilon, (float)step.WeightDecay, (float)step.LearningRate, Aligned(gradient, master, firstMoment, secondMoment, parameter));
    }
}
