namespace MoeSharp.Core;

/// <summary>What <see cref="Backend.Gate"/> writes. Borrowed tensors: the caller allocates and disposes them.</summary>
/// <param name="Ids">Int32 [T, K] in rank order: a real expert e &gt;= 0, -1-j for null slot j, or <see cref="RouterSpec.EmptyId"/>.</param>
/// <param name="Weights">Wide [T, K]: combine weights; 0 for zero nulls and empty slots.</param>
/// <param name="Counts">Int32 [C]: tokens per logit column, all copies of a shared null logit together.</param>
/// <param name="ChunkCounts">Int32 [ceil(T / 256), E]: real slots per chunk of <see cref="RoutingPlan.ChunkTokens"/> tokens and expert; <see cref="Backend.Dispatch"/> starts from it.</param>
/// <param name="ProbabilitySums">Wide [C]: sum over tokens of the probability of one copy of the column.</param>
/// <param name="BalanceLoss">Wide [1]: S * sum over slots of f_s q_s, f = load / sum of all loads, q = mean probability; 1 when even, 0 for T = 0.</param>
/// <param name="ZLoss">Wide [1]: mean over tokens of logsumexp(slot logits)^2; 0 for T = 0.</param>
/// <param name="TopCounts">Int32 [C]: tokens whose slot of rank 1 reads the column; null unless <see cref="RouterSpec.BalanceLoad"/> is <see cref="BalanceLoad.Top1"/>.</param>
public sealed record GateResult(
    Tensor Ids, Tensor Weights, Tensor Counts, Tensor ChunkCounts, Tensor ProbabilitySums, Tensor BalanceLoss, Tensor ZLoss,
    Tensor? TopCounts = null)
{
    /// <summary>Int32 [C]: the loads of the balance loss, which <see cref="Backend.GateBackward"/> takes.</summary>
    public Tensor Loads => TopCounts ?? Counts;

    /// <summary>Allocates what a gate writes. The caller disposes the tensors, or a <see cref="TensorScope"/> does.</summary>
    /// <param name="backend">Whose memory it is.</param>
    /// <param name="tokens">T.</param>
    /// <param name="spec">The routing rules.</param>
    public static GateResult Create(Backend backend, int tokens, RouterSpec spec) => new(
        backend.Empty(new Shape(tokens, spec.TopK), DType.Int32),
        backend.EmptyWide(tokens, spec.TopK),
        backend.Empty(new Shape(spec.Columns), DType.Int32),
        backend.Empty(new Shape(RoutingPlan.Chunks(tokens), spec.Experts), DType.Int32),
        backend.EmptyWide(spec.Columns),
        backend.EmptyWide(1),
        backend.EmptyWide(1),
        spec.BalanceLoad == BalanceLoad.Top1 ? backend.Empty(new Shape(spec.Columns), DType.Int32) : null);
}

/// <summary>What <see cref="Backend.Dispatch"/> writes: real rows only, sorted by expert, tokens ascending inside an expert.</summary>
/// <remarks>
/// R, the number of rows, is <c>Offsets[E]</c> and stays on the device; row buffers, [T*K] below, are sized for <see cref="Capacity"/> and
/// hold R valid rows; what lies behind them is never read. Borrowed tensors: the caller allocates and disposes them.
/// </remarks>
/// <param name="Tokens">T.</param>
/// <param name="TopK">K.</param>
/// <param name="Experts">E.</param>
/// <param name="Offsets">Int32 [E+1]: rows of expert e are Offsets[e]..Offsets[e+1].</param>
/// <param name="RowToken">Int32 [T*K]: token of each row.</param>
/// <param name="RowWeight">Wide [T*K]: combine weight of each row.</param>
/// <param name="SlotRow">Int32 [T, K]: row of each slot, -1 for a null or empty slot.</param>
public sealed record RoutingPlan(
    int Tokens, int TopK, int Experts, Tensor Offsets, Tensor RowToken, Tensor RowWeight, Tensor SlotRow)
{
    /// <summary>Tokens of one chunk of the counting sort.</summary>
    public const int ChunkTokens = 256;

    /// <summary>Most rows, where the caller knows that the ids hold no more real slots than that; 0 where T*K is all that is known.</summary>
    public int RowLimit { get; init; }

    /// <summary>Most rows the plan can hold: T*K, or the <see cref="RowLimit"/>. Row buffers are sized for it.</summary>
    public int Capacity => RowLimit > 0 ? RowLimit : checked(Tokens * TopK);

    /// <summary>Allocates what a dispatch writes. The caller disposes the tensors, or a <see cref="TensorScope"/> does.</summary>
    /// <param name="backend">Whose memory it is.</param>
    /// <param name="tokens">T.</param>
    /// <param name="spec">The routing rules.</param>
    public static RoutingPlan Create(Backend backend, int tokens, RouterSpec spec) => new(
        tokens,
        spec.TopK,
        spec.Experts,
        backend.Empty(new Shape(spec.Experts + 1L), DType.Int32),
        backend.Empty(new Shape((long)tokens * spec.TopK), DType.Int32),
        backend.EmptyWide((long)tokens * spec.TopK),
        backend.Empty(new Shape(tokens, spec.TopK), DType.Int32));

    /// <summary>Chunks of a number of tokens: ceil(T / 256).</summary>
    public static long Chunks(long tokens) => (tokens + ChunkTokens - 1) / ChunkTokens;
}
