namespace MoeSharp.Autograd;

/// <summary>The differentiable operations a <see cref="Tape"/> records; each has one rule in <see cref="GradientRules"/>.</summary>
public enum TapeOp
{
    /// <summary>y = x W^T + b.</summary>
    Linear,

    /// <summary>Rows of a table.</summary>
    Embedding,

    /// <summary>Root-mean-square norm of rows.</summary>
    RmsNorm,

    /// <summary>Rotary position embedding.</summary>
    Rope,

    /// <summary>Scaled dot-product attention.</summary>
    Attention,

    /// <summary>silu(gate) * up.</summary>
    SwiGlu,

    /// <summary>Sum of two.</summary>
    Add,

    /// <summary>Product with a constant.</summary>
    Scale,

    /// <summary>sigmoid(gate) * x, one gate per row.</summary>
    SigmoidGate,

    /// <summary>Another shape, same elements.</summary>
    Reshape,

    /// <summary>A parameter as a value.</summary>
    Use,

    /// <summary>Root-mean-square norm of rows without a weight.</summary>
    Normalize,

    /// <summary>Product of two values, the second transposed.</summary>
    Product,

    /// <summary>Mean cross-entropy of targets.</summary>
    CrossEntropy,

    /// <summary>Noise on router logits.</summary>
    NoisyLogits,

    /// <summary>Losses of noisy top-k.</summary>
    NoisyBalance,

    /// <summary>Router logits to weights and auxiliary losses.</summary>
    Gate,

    /// <summary>Dispatch, expert up, expert down and combine.</summary>
    Experts,

    /// <summary>Constant null experts.</summary>
    ConstantExperts,

    /// <summary>Nearest code, straight-through mix and the loss of the codebook.</summary>
    Quantize,

    /// <summary>Product with a matrix that is not trained.</summary>
    Project,
}
