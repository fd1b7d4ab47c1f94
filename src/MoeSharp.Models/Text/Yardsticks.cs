using System.Globalization;
using System.IO.Compression;

namespace MoeSharp.Models;

/// <summary>A number to compare a model with.</summary>
/// <param name="Name">What was measured.</param>
/// <param name="BitsPerByte">Bits per byte of validation text.</param>
public sealed record YardstickRow(string Name, double BitsPerByte);

/// <summary>What simple methods reach on the same text: byte n-gram models and general-purpose compressors.</summary>
/// <remarks>
/// The n-gram models are counted on the training text and measured on the validation text, as the transformer is. The compressors see the
/// validation text alone, with their strongest settings; their containers' headers are included (about 20 bytes for gzip).
/// </remarks>
public static class Yardsticks
{
    /// <summary>Orders measured: contexts of 0 to 4 bytes.</summary>
    public const int LargestOrder = 4;

    /// <summary>Measures all yardsticks: <c>order-0 n-gram</c> .. <c>order-4 n-gram</c>, <c>gzip</c>, <c>brotli</c>.</summary>
    /// <param name="train">Text the n-gram models are counted on.</param>
    /// <param name="validation">Text that is measured, not empty.</param>
    /// <exception cref="ArgumentException">The validation text is empty.</exception>
    public static IReadOnlyList<YardstickRow> Measure(ReadOnlySpan<byte> train, ReadOnlySpan<byte> validation)
    {
        if (validation.IsEmpty)
        {
            throw new ArgumentException("Yardsticks need a validation text that is not empty.", nameof(validation));
        }

        double[] orders = new NgramModel(train, LargestOrder).BitsPerByte(validation);
        var rows = new List<YardstickRow>();
        for (int order = 0; order < orders.Length; order++)
        {
            rows.Add(new YardstickRow(string.Create(CultureInfo.InvariantCulture, $"order-{order} n-gram"), orders[order]));
        }

        rows.Add(new YardstickRow("gzip", 8.0 * GzipBytes(validation) / validation.Length));
        rows.Add(new YardstickRow("brotli", 8.0 * BrotliBytes(validation) / validation.Length));
        return rows;
    }

    private static long GzipBytes(ReadOnlySpan<byte> text)
    {
        using var memory = new MemoryStream();
        using (var gzip = new GZipStream(memory, CompressionLevel.SmallestSize, leaveOpen: true))
        {
            gzip.Write(text);
        }

        return memory.Length;
    }

    private static long BrotliBytes(ReadOnlySpan<byte> text)
    {
        var buffer = new byte[BrotliEncoder.GetMaxCompressedLength(text.Length)];
        return BrotliEncoder.TryCompress(text, buffer, out int written, quality: 11, window: 24)
            ? written
            : throw new InvalidOperationException("Brotli refused a buffer of its own largest length.");
    }
}
