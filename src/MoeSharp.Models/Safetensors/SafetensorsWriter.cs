using System.Buffers.Binary;
using System.Text.Json;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Writes safetensors files: deterministic bytes, replaced atomically.</summary>
/// <remarks>
/// The same tensors and metadata give the same bytes, whatever order they come in: data is ordered by descending element size, then
/// name; metadata by key; the header is padded with spaces to a multiple of 8. The file appears under its name only when it is complete and
/// flushed, so a reader, or a process that maps the old file, never sees half of it. Tensors of any size stream through one small buffer.
/// </remarks>
public static class SafetensorsWriter
{
    /// <summary>Writes tensors to a file.</summary>
    /// <param name="path">Destination; replaced when it exists.</param>
    /// <param name="tensors">Names and tensors; borrowed. Names are distinct and not <c>__metadata__</c>.</param>
    /// <param name="metadata">Strings for <c>__metadata__</c>, or null.</param>
    /// <exception cref="ArgumentException">Two tensors share a name, or a name is reserved.</exception>
    /// <exception cref="IOException">The disk refuses; the previous file is untouched.</exception>
    public static void Write(
        string path, IReadOnlyList<(string Name, Tensor Tensor)> tensors, IReadOnlyDictionary<string, string>? metadata = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(tensors);
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach ((string name, Tensor tensor) in tensors)
        {
            Guard.That(name != "__metadata__", "A tensor cannot be named __metadata__.");
            Guard.That(names.Add(name), $"Two tensors are named '{name}'.");
            ObjectDisposedException.ThrowIf(tensor.IsDisposed, tensor);
        }

        (string Name, Tensor Tensor)[] ordered =
        [
            .. tensors.OrderByDescending(item => item.Tensor.DType.Size()).ThenBy(item => item.Name, StringComparer.Ordinal),
        ];
        byte[] header = Header(ordered, metadata);
        AtomicFile.Write(path, stream =>
        {
            stream.Write(header);
            var buffer = new byte[SafetensorsFile.ChunkElements * 8];
            foreach ((_, Tensor tensor) in ordered)
            {
                WriteData(stream, tensor, buffer);
            }
        });
    }

    private static byte[] Header((string Name, Tensor Tensor)[] tensors, IReadOnlyDictionary<string, string>? metadata)
    {
        using var memory = new MemoryStream();
        memory.Write(new byte[8]);
        using (var json = new Utf8JsonWriter(memory))
        {
            json.WriteStartObject();
            if (metadata is { Count: > 0 })
            {
                json.WriteStartObject("__metadata__");
                foreach (KeyValuePair<string, string> pair in metadata.OrderBy(pair => pair.Key, StringComparer.Ordinal))
                {
                    json.WriteString(pair.Key, pair.Value);
                }

                json.WriteEndObject();
            }

            long offset = 0;
            foreach ((string name, Tensor tensor) in tensors)
            {
                json.WriteStartObject(name);
                json.WriteString("dtype", tensor.DType.SafetensorsName());
                json.WriteStartArray("shape");
                foreach (long dimension in tensor.Shape)
                {
                    json.WriteNumberValue(dimension);
                }

                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                json.WriteNumberValue(offset += tensor.ByteCount);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        while (memory.Length % 8 != 0)
        {
            memory.WriteByte((byte)' ');
        }

        byte[] header = memory.ToArray();
        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)(header.Length - 8));
        return header;
    }

    private static void WriteData(Stream stream, Tensor tensor, byte[] buffer)
    {
        int size = tensor.DType.Size();
        for (long start = 0; start < tensor.ElementCount; start += SafetensorsFile.ChunkElements)
        {
            int count = (int)Math.Min(SafetensorsFile.ChunkElements, tensor.ElementCount - start);
            Span<byte> bytes = buffer.AsSpan(0, count * size);
            TensorBytes.CopyTo(tensor, start, bytes);
            stream.Write(bytes);
        }
    }
}
