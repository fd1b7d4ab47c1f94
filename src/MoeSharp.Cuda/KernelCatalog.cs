namespace MoeSharp.Cuda;

/// <summary>Every kernel file with every set of constants the engine can ask for: what has to compile, and what can be shipped compiled.</summary>
/// <remarks>One part per op family, beside the ops that launch them. A key that is not listed cannot be launched, so the list cannot fall behind.</remarks>
public static partial class KernelCatalog
{
    /// <summary>Macro that selects the float type: 0 for float32, 1 for bfloat16.</summary>
    internal const string FloatConstant = "FLOAT_BF16";

    // Lazy, because the parts of this class initialise their own tables in no particular order.
    private static readonly Lazy<HashSet<KernelKey>> s_all = new(() => [.. Families()]);

    /// <summary>All keys, without an architecture.</summary>
    public static IReadOnlyList<KernelKey> All => [.. s_all.Value.OrderBy(key => key.ToString(), StringComparer.Ordinal)];

    /// <summary>Whether a key, whatever its architecture, is listed.</summary>
    public static bool Contains(KernelKey key)
    {
        ArgumentNullException.ThrowIfNull(key);
        return s_all.Value.Contains(key with { Architecture = string.Empty });
    }

    private static IEnumerable<KernelKey> Families() =>
    [
        .. Attention(),
        .. Dense(),
        .. Routing(),
        .. Products(),
    ];

    /// <summary>A file in both float types.</summary>
    private static IEnumerable<KernelKey> BothTypes(string file, params (string Name, int Value)[] constants)
    {
        foreach (int bf16 in (int[])[0, 1])
        {
            yield return KernelKey.Of(file, [.. constants, (FloatConstant, bf16)]);
        }
    }
}
