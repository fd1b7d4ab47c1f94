using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>What a <see cref="TransformerBlock"/> gives.</summary>
/// <param name="Output">[T, d].</param>
/// <param name="Moe">Routing and auxiliary losses; null for a dense block.</param>
public sealed record BlockOutput(Variable Output, MoeOutput? Moe);

/// <summary>h = x + attention(norm(x)); out = h + feed-forward(norm(h)), the feed-forward being a MoE layer or a dense SwiGLU.</summary>
/// <remarks>Parameter prefixes: input_layernorm, self_attn, post_attention_layernorm, mlp, as in Llama-style checkpoints.</remarks>
public sealed class TransformerBlock : Module
{
    private readonly RmsNorm _inputNorm;
    private readonly RmsNorm _middleNorm;

    /// <summary>Makes a block.</summary>
    /// <param name="init">Makes the weights.</param>
    /// <param name="name">Prefix of the parameter names, such as model.layers.0.</param>
    /// <param name="attention">The attention layer.</param>
    /// <param name="moe">The MoE layer, or null for a dense feed-forward layer.</param>
    /// <param name="denseWidth">Inner width of the dense layer; read when <paramref name="moe"/> is null.</param>
    /// <param name="eps">Epsilon of the norms.</param>
    /// <param name="outputStd">Standard deviation of the projections back into the residual stream.</param>
    public TransformerBlock(
        Initializer init, string name, AttentionOptions attention, MoeOptions? moe, int denseWidth, double eps, double outputStd)
    {
        // Everything is checked before the first tensor is made, so that a mistake leaves nothing behind.
        attention.Validate();
        moe?.Validate();
        Guard.That(
            moe is null || moe.Hidden == attention.Hidden,
            $"The MoE layer is {moe?.Hidden} wide, the attention layer {attention.Hidden}.");
        Guard.That(moe is not null || denseWidth >= 1, $"A dense block needs an inner width of at least 1, got {denseWidth}.");
        _inputNorm = Child(new RmsNorm(init, $"{name}.input_layernorm", attention.Hidden, eps));
        Attention = Child(new AttentionLayer(init, $"{name}.self_attn", attention, outputStd));
        _middleNorm = Child(new RmsNorm(init, $"{name}.post_attention_layernorm", attention.Hidden, eps));
        if (moe is null)
        {
            Dense = Child(new SwiGluMlp(init, $"{name}.mlp", attention.Hidden, denseWidth, outputStd));
        }
        else
        {
            Moe = Child(new MoeLayer(init, $"{name}.mlp", moe, outputStd));
        }
    }

    /// <summary>The attention layer.</summary>
    public AttentionLayer Attention { get; }

    /// <summary>The MoE layer; null for a dense block.</summary>
    public MoeLayer? Moe { get; }

    /// <summary>The dense feed-forward layer; null for a block with a MoE layer.</summary>
    public SwiGluMlp? Dense { get; }

    /// <summary>[batch * length, d] to the same shape; arguments as in <see cref="AttentionLayer.Forward"/> and <see cref="MoeLayer.Forward"/>.</summary>
    public BlockOutput Forward(
        Tape tape, Variable x, Tensor positions, int batch, int length, KvCache? cache = null, RouterContext? context = null)
    {
        Variable normed = _inputNorm.Forward(tape, x);
        Variable attended = Attention.Forward(tape, normed, positions, batch, length, cache);
        tape.Release(normed);
        Variable middle = tape.Add(x, attended);
        tape.Release(attended);
        Variable middleNormed = _middleNorm.Forward(tape, middle);
        MoeOutput? moe = Moe?.Forward(tape, middleNormed, context);
        Variable fed = moe?.Output ?? Dense!.Forward(tape, middleNormed);
        tape.Release(middleNormed);
        Variable output = tape.Add(middle, fed);
        tape.Release(middle);
        if (moe is null)
        {
            // The output of a MoE layer is part of what the block returns.
            tape.Release(fed);
        }

        return new BlockOutput(output, moe);
    }
}
