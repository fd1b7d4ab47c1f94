namespace MoeSharp.Core;

/// <content>The routers of the papers; by name in <see cref="RouterFamily"/>.</content>
public sealed partial record RouterSpec
{
    /// <summary>A ReLU router as in ReMoE (arXiv 2412.14711): experts with a positive logit, which is their weight; the balance loss is its regulariser.</summary>
    /// <param name="experts">Experts E.</param>
    /// <param name="mostExperts">Most experts per token, 1..E; ReMoE has no limit. An untrained router fires about E / 2.</param>
    public static RouterSpec WithRelu(int experts, int mostExperts) => new()
    {
        Experts = experts, TopK = mostExperts, Score = ScoreFunction.Relu, Renormalize = Renormalize.None,
    };

    /// <summary>A null-expert router: softmax, one shared zero null logit, weights over the chosen real experts.</summary>
    public static RouterSpec WithNulls(int experts, int topK, double rho)
    {
        int nulls = NullSlotsFor(experts, rho);
        return new RouterSpec { Experts = experts, TopK = topK, Nulls = nulls == 0 ? [] : [new(NullKind.Zero, nulls)] };
    }

    /// <summary>
    /// A threshold router as in XMoE (arXiv 2403.18926): raw probabilities as weights, balanced by the share of tokens whose best expert it is.
    /// </summary>
    /// <param name="experts">Experts E.</param>
    /// <param name="threshold">Probability mass t in (0, 1].</param>
    /// <param name="mostExperts">Most experts per token, 1..E; an untrained router is undecided and takes about t E.</param>
    public static RouterSpec WithThreshold(int experts, double threshold, int mostExperts) => new()
    {
        Experts = experts, TopK = mostExperts, Selection = Selection.Threshold, Threshold = threshold, Renormalize = Renormalize.None,
        BalanceLoad = BalanceLoad.Top1,
    };

    /// <summary>
    /// A top-p router (arXiv 2403.07652): as <see cref="WithThreshold"/>, balanced by all chosen experts, at that paper's mass of 0.4.
    /// </summary>
    /// <param name="experts">Experts E.</param>
    /// <param name="mostExperts">Most experts per token, 1..E.</param>
    public static RouterSpec WithTopP(int experts, int mostExperts) =>
        WithThreshold(experts, threshold: 0.4, mostExperts) with { BalanceLoad = BalanceLoad.AllSlots };

    /// <summary>Noisy top-k (arXiv 1701.06538): a softmax over the chosen logits.</summary>
    /// <param name="experts">Experts E.</param>
    /// <param name="topK">Slots K per token.</param>
    public static RouterSpec WithNoise(int experts, int topK) => new()
    {
        Kind = RouterKind.NoisyTopK, Experts = experts, TopK = topK, Renormalize = Renormalize.Chosen,
    };

    /// <summary>A router by which experts choose tokens (arXiv 2202.09368): raw softmax weights. Not causal.</summary>
    /// <param name="experts">Experts E.</param>
    /// <param name="meanExperts">Mean number of experts per token, 1..E.</param>
    public static RouterSpec WithExpertChoice(int experts, int meanExperts) => new()
    {
        Kind = RouterKind.ExpertChoice, Experts = experts, TopK = meanExperts, Renormalize = Renormalize.None,
    };

    /// <summary>A fixed random map from token ids to experts (arXiv 2106.04426); the weights are 1/K.</summary>
    /// <param name="experts">Experts E.</param>
    /// <param name="topK">Experts K of an id.</param>
    public static RouterSpec WithHash(int experts, int topK) => new()
    {
        Kind = RouterKind.Hash, Experts = experts, TopK = topK, Score = ScoreFunction.Relu, Renormalize = Renormalize.None,
    };

    /// <summary>
    /// A router that is balanced without a loss, by a bias on sigmoid scores that only the choice sees (arXiv 2408.15664; DeepSeek-V3).
    /// </summary>
    /// <param name="experts">Experts E.</param>
    /// <param name="topK">Slots K per token.</param>
    public static RouterSpec WithLoadBias(int experts, int topK) => new()
    {
        Experts = experts, TopK = topK, Score = ScoreFunction.Sigmoid, SelectionBias = SelectionBias.Score,
    };

    /// <summary>
    /// A VQMoE layer (arXiv 2411.19402): a router and a codebook with a code per expert. Weights are raw probabilities: over the chosen slots alone
    /// a single one would always weigh 1, and the router of the authors' scripts, K = 1, would learn nothing from the task.
    /// </summary>
    /// <param name="experts">Experts E.</param>
    /// <param name="topK">Slots K of the router; 1 in the paper. The code adds one more expert per token.</param>
    public static RouterSpec WithCodes(int experts, int topK) => new()
    {
        Experts = experts, TopK = topK, Renormalize = Renormalize.None, Codebook = new() { Codes = experts },
    };
}
