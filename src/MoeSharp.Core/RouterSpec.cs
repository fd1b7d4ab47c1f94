namespace MoeSharp.Core;

/// <summary>How router logits become probabilities.</summary>
public enum ScoreFunction
{
    /// <summary>Softmax over all slots, null copies included (Switch, OLMoE, Mixtral, Qwen, null experts).</summary>
    Softmax,

    /// <summary>Independent sigmoid per slot (DeepSeek-V3).</summary>
    Sigmoid,

    /// <summary>
    /// max(0, logit): a slot fires when its logit is positive, at most K of them, and the logit is the weight (ReMoE, arXiv 2412.14711).
    /// </summary>
    Relu,
}

/// <summary>What a null slot adds to the output, per unit of its weight.</summary>
public enum NullKind
{
    /// <summary>Nothing; its weight is stored as 0.</summary>
    Zero,

    /// <summary>The token itself (LongCat-Flash, the "copy" expert of MoE++).</summary>
    Identity,

    /// <summary>A learnt mix of the token and a constant vector (MoE++).</summary>
    Constant,
}

/// <summary>A run of null slots of one kind.</summary>
/// <param name="Kind">What the slots add.</param>
/// <param name="Count">How many slots, at least 1.</param>
public readonly record struct NullGroup(NullKind Kind, int Count);

/// <summary>Which chosen slots the combine weights are divided by the sum of.</summary>
public enum Renormalize
{
    /// <summary>None: the raw scores are the weights (OLMoE, DeepSeek-V2, LongCat).</summary>
    None,

    /// <summary>All chosen slots (Mixtral, Qwen3).</summary>
    Chosen,

    /// <summary>The chosen slots that are not zero nulls: the null-expert paper, AdaMoE, MoE++.</summary>
    ChosenExceptZero,
}

/// <summary>What the selection-only bias is added to.</summary>
public enum SelectionBias
{
    /// <summary>There is none.</summary>
    None,

    /// <summary>Added to the score (DeepSeek-V3, LongCat-Flash).</summary>
    Score,

    /// <summary>Added to the logit: the null-rate controller, which shifts one shared null logit.</summary>
    Logit,
}

/// <summary>How a group of experts is scored for group-limited choice.</summary>
public enum GroupScore
{
    /// <summary>The best selection score in the group (DeepSeek-V2).</summary>
    Max,

    /// <summary>The sum of the two best (DeepSeek-V3).</summary>
    TopTwoSum,
}

/// <summary>How many of the ranked slots a token takes.</summary>
public enum Selection
{
    /// <summary>The first K.</summary>
    TopK,

    /// <summary>
    /// The fewest whose probabilities sum to <see cref="RouterSpec.Threshold"/>, the first always, at most K
    /// (XMoE, arXiv 2403.18926; top-p routing, arXiv 2403.07652).
    /// </summary>
    Threshold,
}

/// <summary>What the balance loss takes as the load of a slot.</summary>
public enum BalanceLoad
{
    /// <summary>Its share of all chosen slots, of whatever rank.</summary>
    AllSlots,

    /// <summary>Its share of the slots of rank 1 (Switch, arXiv 2101.03961; XMoE).</summary>
    Top1,
}

/// <summary>How the load of null copies enters the balance loss.</summary>
public enum NullBalance
{
    /// <summary>Each null slot with its own load (Switch form over real and null slots).</summary>
    PerSlot,

    /// <summary>Each null slot with the mean null load (AdaMoE as intended).</summary>
    Average,
}

/// <summary>Routing as data: everything that turns router logits into expert ids and weights.</summary>
/// <remarks>
/// Slots are numbered 0..E-1 for real experts and E..E+M-1 for null slots, group after group. A router has one logit
/// <em>column</em> per real expert, then one per null slot or, with <see cref="SharedNullLogit"/>, one per null group that stands for
/// all copies in it. Choice: the K slots of largest selection score; equal scores: the lower slot; NaN counts as the smallest.
/// Softmax without a score bias compares logits, which orders the same and cannot underflow into ties.
/// A threshold router keeps the slot of rank r when the probabilities of ranks 1..r-1, added in rank order in binary32 (binary64 on a
/// Float64 backend), are below the threshold; null slots are ranked, weighed and kept like any other. A slot it does not fill is empty: id
/// <see cref="EmptyId"/>, weight 0, in no count and no row.
/// A ReLU router keeps the ranks whose logit is positive, which may be none.
/// Sources: null experts (arXiv 2601.15370, eq. 1-6), MoE++ (2410.07348), DeepSeek-V2/V3, LongCat-Flash.
/// </remarks>
public sealed partial record RouterSpec
{
    /// <summary>Where the logits come from.</summary>
    public RouterKind Kind { get; init; } = RouterKind.Linear;

    /// <summary>Real experts E, at least 1.</summary>
    public required int Experts { get; init; }

    /// <summary>
    /// Slots per token K, 1..E+M; with <see cref="Selection.Threshold"/> the most that a token may fill, with
    /// <see cref="RouterKind.ExpertChoice"/> the mean over tokens.
    /// </summary>
    public required int TopK { get; init; }

    /// <summary>How many of the ranked slots a token takes.</summary>
    public Selection Selection { get; init; } = Selection.TopK;

    /// <summary>Probability mass t in (0, 1] that a threshold router collects; 1 takes K slots whatever their sum rounds to. 0.9 in XMoE.</summary>
    public double Threshold { get; init; } = 1;

    /// <summary>Score function.</summary>
    public ScoreFunction Score { get; init; } = ScoreFunction.Softmax;

    /// <summary>Width r in which a cosine router compares tokens and experts.</summary>
    public int CosineWidth { get; init; } = 16;

    /// <summary>Temperature tau that a cosine router starts from, &gt; 0.</summary>
    public double Temperature { get; init; } = 0.3;

    /// <summary>Null slots in slot order; empty for a plain MoE.</summary>
    public IReadOnlyList<NullGroup> Nulls { get; init; } = [];

    /// <summary>One logit per null group, replicated over its copies (the paper), or one per null slot (AdaMoE, LongCat).</summary>
    public bool SharedNullLogit { get; init; } = true;

    /// <summary>Which chosen slots normalise the weights.</summary>
    public Renormalize Renormalize { get; init; } = Renormalize.ChosenExceptZero;

    /// <summary>Added to the normalising sum of sigmoid scores (1e-20 in DeepSeek-V3). Softmax needs none.</summary>
    public double NormalizeEpsilon { get; init; } = 1e-20;

    /// <summary>Factor on every weight, real and null alike (routed_scaling_factor).</summary>
    public double Scale { get; init; } = 1.0;

    /// <summary>Whether <c>Gate</c> takes a per-column bias that takes part in the choice only, and where it is added.</summary>
    public SelectionBias SelectionBias { get; init; } = SelectionBias.None;

    /// <summary>Groups of real experts for group-limited choice; 1 is off. Null slots are outside all groups and always allowed.</summary>
    public int GroupCount { get; init; } = 1;

    /// <summary>Groups a token may choose from.</summary>
    public int GroupsKept { get; init; } = 1;

    /// <summary>How groups are ranked; equal: the lower group.</summary>
    public GroupScore GroupScore { get; init; } = GroupScore.Max;

    /// <summary>Which slots the load of the balance loss counts.</summary>
    public BalanceLoad BalanceLoad { get; init; } = BalanceLoad.AllSlots;

    /// <summary>How null load enters the balance loss.</summary>
    public NullBalance NullBalance { get; init; } = NullBalance.PerSlot;

    /// <summary>The discrete branch of VQMoE (arXiv 2411.19402) beside, or in place of, these rules; null for none.</summary>
    public CodebookSpec? Codebook { get; init; }

    /// <summary>Null slots M.</summary>
    public int NullSlots => Nulls.Sum(group => group.Count);

    /// <summary>All slots S = E + M.</summary>
    public int Slots => Experts + NullSlots;

    /// <summary>Id of a slot that the router left empty: one below the last null slot, so -1 without null slots.</summary>
    public int EmptyId => -1 - NullSlots;

    /// <summary>Logit columns: E + groups with a shared null logit, else E + M.</summary>
    public int Columns => Experts + (SharedNullLogit ? Nulls.Count : NullSlots);

    /// <summary>Constant null slots C.</summary>
    public int ConstantSlots => Nulls.Where(group => group.Kind == NullKind.Constant).Sum(group => group.Count);

    /// <summary>Slots that a gate lays out per token: K, and E for <see cref="RouterKind.ExpertChoice"/>, which may give a token to all experts.</summary>
    public int SlotsPerToken => Kind == RouterKind.ExpertChoice ? Experts : TopK;

    /// <summary>Whether no later token can change the choice of an earlier one. A router that is not causal cannot generate.</summary>
    public bool IsCausal => Kind != RouterKind.ExpertChoice;

    /// <summary>Whether any null slot adds to the output.</summary>
    public bool HasIdentity => Nulls.Any(group => group.Kind == NullKind.Identity);

    /// <summary>Number of null copies for a data sparsity: M = E (1 - rho) / rho, rounded (arXiv 2601.15370, section 3).</summary>
    /// <param name="experts">Real experts E.</param>
    /// <param name="rho">Target share of slots that hit a real expert, in (0, 1].</param>
    /// <exception cref="ArgumentOutOfRangeException">rho is not in (0, 1].</exception>
    public static int NullSlotsFor(int experts, double rho)
    {
        if (!(rho > 0 && rho <= 1))
        {
            throw new ArgumentOutOfRangeException(nameof(rho), rho, $"Data sparsity rho is in (0, 1], got {rho}.");
        }

        return checked((int)Math.Round(experts * (1 - rho) / rho, MidpointRounding.AwayFromZero));
    }

    /// <summary>Tokens that an expert takes with a capacity factor: max(4, ceil(T / E * factor)) (XMoE, arXiv 2403.18926).</summary>
    /// <param name="tokens">T.</param>
    /// <param name="factor">Capacity over an even share of one slot per token, &gt; 0; XMoE sets it to the slots a token may fill.</param>
    /// <exception cref="ArgumentException">The factor is not a positive number.</exception>
    public int CapacityFor(int tokens, double factor)
    {
        Guard.That(factor > 0 && double.IsFinite(factor), $"The capacity factor is > 0 and finite, got {factor}.");
        return (int)Math.Min(int.MaxValue, Math.Max(4, Math.Ceiling((double)tokens / Experts * factor)));
    }

    /// <summary>Logit column of a slot.</summary>
    public int ColumnOf(int slot)
    {
        if (slot < Experts || !SharedNullLogit)
        {
            return slot;
        }

        int rest = slot - Experts;
        for (int group = 0; group < Nulls.Count; group++)
        {
            if (rest < Nulls[group].Count)
            {
                return Experts + group;
            }

            rest -= Nulls[group].Count;
        }

        throw new ArgumentOutOfRangeException(nameof(slot), slot, $"Slots are 0..{Slots - 1}.");
    }

    /// <summary>Number of slots that share a logit column.</summary>
    public int Copies(int column) => column < Experts || !SharedNullLogit ? 1 : Nulls[column - Experts].Count;

    /// <summary>Null kind of a null slot, counted from 0 at slot E.</summary>
    public NullKind KindOf(int nullSlot)
    {
        int rest = nullSlot;
        foreach (NullGroup group in Nulls)
        {
            if (rest < group.Count)
            {
                return group.Kind;
            }

            rest -= group.Count;
        }

        throw new ArgumentOutOfRangeException(nameof(nullSlot), nullSlot, $"Null slots are 0..{NullSlots - 1}.");
    }

    /// <summary>Checks every field against the others.</summary>
    /// <returns>This spec, for chaining.</returns>
    /// <exception cref="ArgumentException">A value is out of range; the message says which.</exception>
    public RouterSpec Validate()
    {
        Guard.That(Experts >= 1, $"A router needs at least 1 real expert, got {Experts}.");
        Guard.That(Nulls.All(group => group.Count >= 1), "Every null group needs at least 1 slot.");
        Guard.That(
            TopK >= 1 && TopK <= Slots,
            $"top-k is 1..{Slots} (the pool has {Experts} real experts and {NullSlots} null slots), got {TopK}.");
        Guard.That(GroupCount >= 1 && Experts % GroupCount == 0, $"{Experts} experts do not split into {GroupCount} equal groups.");
        Guard.That(GroupsKept >= 1 && GroupsKept <= GroupCount, $"Groups kept is 1..{GroupCount}, got {GroupsKept}.");
        Guard.That(
            TopK <= (Experts / GroupCount * GroupsKept) + NullSlots,
            $"top-k {TopK} exceeds the {Experts / GroupCount * GroupsKept} experts of {GroupsKept} kept groups plus {NullSlots} null slots.");
        Codebook?.Validate(Experts);
        Guard.That(Codebook is null || NullSlots == 0, $"A codebook names real experts; leave it out, or the {NullSlots} null slots.");
        Guard.That(Threshold > 0 && Threshold <= 1, $"The threshold of a router is in (0, 1], got {Threshold}.");
        Guard.That(
            Selection == Selection.TopK || Score == ScoreFunction.Softmax,
            $"A threshold router collects softmax probabilities, this one has ScoreFunction.{Score}.");
        Guard.That(
            Score != ScoreFunction.Relu || (SelectionBias == SelectionBias.None && GroupCount == 1),
            $"A ReLU router chooses by the sign of its logits: it takes no selection bias and no groups, this one has SelectionBias.{SelectionBias} and {GroupCount} groups.");
        bool plain = Codebook is null && NullSlots == 0 && Selection == Selection.TopK && SelectionBias == SelectionBias.None && GroupCount == 1;
        Guard.That(
            Kind != RouterKind.ExpertChoice || (plain && Score == ScoreFunction.Softmax && Renormalize == Renormalize.None),
            "An expert-choice router weighs by raw softmax scores and has no null slots, threshold, selection bias, groups or codebook: make it with RouterSpec.WithExpertChoice, or leave out the field that asks for one.");
        Guard.That(
            Kind != RouterKind.NoisyTopK || (plain && Score == ScoreFunction.Softmax && Renormalize == Renormalize.Chosen),
            "A noisy top-k router weighs by a softmax over the chosen logits and has no null slots, threshold, selection bias, groups or codebook: make it with RouterSpec.WithNoise, or leave out the field that asks for one.");
        Guard.That(
            Kind != RouterKind.Hash || (plain && Score == ScoreFunction.Relu && Renormalize == Renormalize.None),
            "A hash router has no scores to weigh or rank, so no null slots, threshold, selection bias, groups or codebook: make it with RouterSpec.WithHash, or leave out the field that asks for one.");
        Guard.That(CosineWidth >= 1, $"The width of a cosine router is at least 1, got {CosineWidth}.");
        Guard.That(Temperature > 0 && double.IsFinite(Temperature), $"The temperature of a cosine router is > 0 and finite, got {Temperature}.");
        Guard.That(double.IsFinite(Scale), $"The weight scale is finite, got {Scale}.");
        Guard.That(NormalizeEpsilon >= 0, $"The normalising epsilon is >= 0, got {NormalizeEpsilon}.");
        return this;
    }
}
