using System.Globalization;

namespace MoeSharp.Cuda;

/// <summary>Identity of a compiled kernel file: the file, the constants it is compiled with, and the architecture.</summary>
/// <param name="File">Path below <c>kernels/</c>, such as <c>moe/gate.cu</c>.</param>
/// <param name="Constants">Macro definitions as <c>NAME=VALUE</c>, sorted by name, separated by blanks.</param>
/// <param name="Architecture"><c>sm_80</c>, <c>sm_90a</c>, ...; <c>compute_90</c> for PTX; empty in <see cref="KernelCatalog"/>.</param>
public sealed record KernelKey(string File, string Constants, string Architecture = "")
{
    /// <summary>A key from names and values.</summary>
    public static KernelKey Of(string file, params ReadOnlySpan<(string Name, int Value)> constants)
    {
        var texts = new string[constants.Length];
        for (int i = 0; i < texts.Length; i++)
        {
            texts[i] = string.Create(CultureInfo.InvariantCulture, $"{constants[i].Name}={constants[i].Value}");
        }

        Array.Sort(texts, StringComparer.Ordinal);
        return new KernelKey(file, string.Join(' ', texts));
    }

    /// <summary>Prints file, constants and architecture.</summary>
    public override string ToString() => $"{File} [{Constants}]{(Architecture.Length > 0 ? " for " + Architecture : string.Empty)}";
}
