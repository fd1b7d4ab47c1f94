namespace MoeSharp.Cpu;

/// <summary>Backward of the constant experts: a pass over tokens, then one over column blocks for the gradient of the constants.</summary>
/// <remarks>With g = dOut, w the weight and (m0, m1) the mix: dX += w m0 g, dConstant += w m1 g, dWeight += m0 g.x + m1 g.c, dMix0 = -dMix1 = w m0 m1 (g.x - g.c).</remarks>
internal unsafe struct ConstantWork
{
    /// <summary>Sources, as the op names them.</summary>
    public float* X, Mix, Constants, Weights, DOut;

    /// <summary>Destinations, as the op names them.</summary>
    public float* DX, DMix, DConstants, DWeights;

    /// <summary>[T, K]: w m1 of the slots of constant nulls, written by the first pass, read by the second.</summary>
    public float* Factors;

    /// <summary>[T, K].</summary>
    public int* Ids;

    /// <summary>Null kinds.</summary>
    public RouterLayout Layout;

    /// <summary>Sizes, and tokens per chunk of the first pass.</summary>
    public int Tokens, Width, Step;

    /// <summary>dX, dMix and dWeights of a chunk of tokens.</summary>
    public readonly void Tokenwise(int chunk)
    {
        int slots = Layout.Spec.TopK, constants = Layout.Constants;
        nint end = (nint)Math.Min(Tokens, (chunk + 1L) * Step);
        for (nint t = (nint)chunk * Step; t < end; t++)
        {
            float* gradient = DOut + (t * Width), x = X + (t * Width), dMix = DMix + (t * 2 * constants);
            new Span<float>(dMix, 2 * constants).Clear();
            for (nint slot = t * slots; slot < (t + 1) * slots; slot++)
            {
                int constant = Layout.ConstantOf(Ids[slot]);
                if (constant < 0)
                {
                    continue;
                }

                float* logits = Mix + (t * 2 * constants) + (2 * constant);
                float keep = VectorMath.Sigmoid(logits[0] - logits[1]), replace = VectorMath.Sigmoid(logits[1] - logits[0]);
                float withX = VectorMath.Dot(gradient, x, Width);
                float withConstant = VectorMath.Dot(gradient, Constants + ((nint)constant * Width), Width);
                float weight = Weights[slot], slope = weight * keep * replace * (withX - withConstant);
                DWeights[slot] += (keep * withX) + (replace * withConstant);
                dMix[2 * constant] += slope;
                dMix[(2 * constant) + 1] -= slope;
                Factors[slot] = weight * replace;
                VectorMath.AddScaled(weight * keep, gradient, DX + (t * Width), Width);
            }
        }
    }

    /// <summary>dConstants of a block of columns, tokens in ascending order.</summary>
    public readonly void Columnwise(int first, int columns)
    {
        int slots = Layout.Spec.TopK;
        for (nint t = 0; t < Tokens; t++)
        {
            for (nint slot = t * slots; slot < (t + 1) * slots; slot++)
            {
                int constant = Layout.ConstantOf(Ids[slot]);
                if (constant >= 0)
                {
                    VectorMath.AddScaled(
                        Factors[slot], DOut + (t * Width) + first, DConstants + ((nint)constant * Width) + first, columns);
                }
            }
        }
    }
}
