using System.Runtime.CompilerServices;
using MoeSharp.Core;

namespace MoeSharp.Cuda;

/// <summary>A <see cref="RouterSpec"/> as the routing kernels take it, made once per spec; the device's side is <c>moe/router.cuh</c>.</summary>
/// <remarks>
/// Null groups are eight scalar arguments, copies * 4 + kind each: nothing is copied to the device, so nothing can be missing from a captured
/// graph. Neighbours of one kind are one group unless each has a logit of its own.
/// </remarks>
internal sealed class RouterArguments
{
    /// <summary>Null groups that the kernels take.</summary>
    public const int MaxNullGroups = 8;

    private static readonly ConditionalWeakTable<RouterSpec, RouterArguments> s_made = [];
    private readonly KernelArgument[] _nulls;

    private RouterArguments(RouterSpec spec)
    {
        Columns = spec.Columns;
        Constants = spec.ConstantSlots;
        HasIdentity = spec.HasIdentity;
        List<NullGroup> groups = Groups(spec);
        if (groups.Count > MaxNullGroups)
        {
            throw new NotSupportedException(
                $"The CUDA backend takes routers with up to {MaxNullGroups} null groups, this one has {groups.Count}. Order the groups so that those of one kind stand together, and let them share a logit.");
        }

        Guard.That(spec.NullSlots < 1 << 28, $"The CUDA backend takes routers with up to {(1 << 28) - 1:N0} null slots, this one has {spec.NullSlots:N0}.");
        _nulls = [.. Enumerable.Range(0, MaxNullGroups).Select(g => (KernelArgument)(g < groups.Count ? (groups[g].Count * 4) + (int)groups[g].Kind : 0))];
    }

    /// <summary>Logit columns.</summary>
    public int Columns { get; }

    /// <summary>Constant null slots.</summary>
    public int Constants { get; }

    /// <summary>Whether a null slot is an identity.</summary>
    public bool HasIdentity { get; }

    /// <summary>The last eight arguments of a kernel.</summary>
    public ReadOnlySpan<KernelArgument> Nulls => _nulls;

    /// <summary>The arguments of a spec; kept as long as the spec lives.</summary>
    /// <exception cref="NotSupportedException">The spec has more null groups than the kernels take.</exception>
    public static RouterArguments Of(RouterSpec spec) => s_made.GetValue(spec, static key => new RouterArguments(key));

    private static List<NullGroup> Groups(RouterSpec spec)
    {
        var groups = new List<NullGroup>();
        foreach (NullGroup group in spec.Nulls)
        {
            if (!spec.SharedNullLogit && groups.Count > 0 && groups[^1].Kind == group.Kind)
            {
                groups[^1] = new NullGroup(group.Kind, groups[^1].Count + group.Count);
            }
            else
            {
                groups.Add(group);
            }
        }

        return groups;
    }
}
