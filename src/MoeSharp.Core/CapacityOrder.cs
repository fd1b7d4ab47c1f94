namespace MoeSharp.Core;

/// <summary>Which (token, slot) pairs an expert keeps first when it may not keep all.</summary>
public enum CapacityOrder
{
    /// <summary>Lower rank, then larger weight (NaN last), then earlier token: the priority (ranks - rank + 1) + P of XMoE (arXiv 2403.18926) for raw weights.</summary>
    RankFirst,

    /// <summary>Larger weight (NaN last), then earlier token, whatever the rank: over a gate that chooses all experts, expert choice (arXiv 2202.09368).</summary>
    WeightFirst,
}
