using System.Globalization;

namespace MoeSharp.Core;

/// <summary>Kind of processor a backend runs on.</summary>
public enum DeviceKind
{
    /// <summary>The host processor.</summary>
    Cpu,

    /// <summary>An NVIDIA GPU.</summary>
    Cuda,
}

/// <summary>A device: <c>cpu</c>, <c>cuda</c> (the same as <c>cuda:0</c>) or <c>cuda:1</c>.</summary>
/// <param name="Kind">Processor kind.</param>
/// <param name="Index">Ordinal among devices of the kind; 0 for the CPU.</param>
public readonly record struct Device(DeviceKind Kind, int Index = 0)
{
    /// <summary>The host processor.</summary>
    public static Device Cpu => new(DeviceKind.Cpu);

    /// <summary>Parses <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>; case does not matter.</summary>
    /// <exception cref="ArgumentException">The text names no device.</exception>
    public static Device Parse(string text) => TryParse(text, out Device device)
        ? device
        : throw new ArgumentException($"'{text}' is not a device; use cpu, cuda or cuda:N.", nameof(text));

    /// <summary>Parses without throwing.</summary>
    public static bool TryParse(string? text, out Device device)
    {
        device = Cpu;
        string lower = (text ?? string.Empty).Trim().ToLowerInvariant();
        if (lower == "cpu")
        {
            return true;
        }

        if (lower == "cuda")
        {
            device = new(DeviceKind.Cuda);
            return true;
        }

        if (lower.StartsWith("cuda:", StringComparison.Ordinal)
            && int.TryParse(lower.AsSpan(5), NumberStyles.None, CultureInfo.InvariantCulture, out int index))
        {
            device = new(DeviceKind.Cuda, index);
            return true;
        }

        return false;
    }

    /// <summary>Prints as it parses.</summary>
    public override string ToString() => Kind == DeviceKind.Cpu ? "cpu" : string.Create(CultureInfo.InvariantCulture, $"cuda:{Index}");
}
