using System.Buffers.Binary;
using System.Collections.Frozen;
using System.IO.MemoryMappedFiles;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>A safetensors file, memory-mapped and read-only.</summary>
/// <remarks>
/// Checkpoints are larger than memory arrays may be and larger than one wants to read twice. The choice: the header is read and checked
/// completely, the data is mapped and copied in chunks of at most <see cref="ChunkElements"/> elements through one small buffer, so a tensor
/// may be larger than 2 GB and nothing is held twice. Bytes are always copied, never reinterpreted in place: the format
/// does not promise alignment. Thread-safe for reading.
/// </remarks>
public sealed class SafetensorsFile : IDisposable
{
    /// <summary>Elements moved at a time.</summary>
    public const int ChunkElements = 1 << 17;

    private readonly MemoryMappedFile _map;
    private readonly MemoryMappedViewAccessor _view;
    private readonly FrozenDictionary<string, SafetensorsEntry> _byName;

    private SafetensorsFile(string path, SafetensorsHeader header, MemoryMappedFile map, MemoryMappedViewAccessor view)
    {
        FilePath = path;
        Entries = header.Entries;
        Metadata = header.Metadata;
        _byName = header.Entries.ToFrozenDictionary(entry => entry.Name, StringComparer.Ordinal);
        _map = map;
        _view = view;
    }

    /// <summary>The path as it was opened.</summary>
    public string FilePath { get; }

    /// <summary>All tensors in the order of their data.</summary>
    public IReadOnlyList<SafetensorsEntry> Entries { get; }

    /// <summary>The strings of <c>__metadata__</c>; empty when there are none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Opens and checks a file. Dispose it to unmap.</summary>
    /// <exception cref="CheckpointFormatException">The file is missing, unreadable or breaks a rule of the format.</exception>
    public static SafetensorsFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (!File.Exists(path))
        {
            throw new CheckpointFormatException($"{path} does not exist; a safetensors file was expected there.");
        }

        FileStream? stream = null;
        MemoryMappedFile? map = null;
        try
        {
            stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
            SafetensorsHeader header = ReadHeader(path, stream);
            map = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: false);
            MemoryMappedViewAccessor view = map.CreateViewAccessor(0, 0, MemoryMappedFileAccess.Read);
            return new SafetensorsFile(path, header, map, view);
        }
        catch (Exception error)
        {
            map?.Dispose();
            stream?.Dispose();
            if (error is IOException or UnauthorizedAccessException)
            {
                throw new CheckpointFormatException($"{path} cannot be read: {error.Message}", error);
            }

            throw;
        }
    }

    /// <summary>Whether the file has a tensor of that name.</summary>
    public bool Contains(string name) => _byName.ContainsKey(name);

    /// <summary>The description of a tensor.</summary>
    /// <exception cref="CheckpointFormatException">The file has no tensor of that name.</exception>
    public SafetensorsEntry Entry(string name) => _byName.TryGetValue(name, out SafetensorsEntry? entry)
        ? entry
        : throw new CheckpointFormatException($"{FilePath} has no tensor '{name}'; it has {Entries.Count} others.");

    /// <summary>Copies a tensor into new memory of a backend. The caller disposes it.</summary>
    /// <param name="name">Name in the file.</param>
    /// <param name="backend">Where the memory is made.</param>
    /// <param name="type">Element type to convert to: floats convert to any float type (widening is exact, narrowing rounds to nearest even); integers stay what they are.</param>
    /// <exception cref="CheckpointFormatException">There is no such tensor, or its dtype does not convert.</exception>
    public Tensor Load(string name, Backend backend, DType type)
    {
        ArgumentNullException.ThrowIfNull(backend);
        SafetensorsEntry entry = Entry(name);
        CheckConversion(entry, type);
        Tensor tensor = backend.Empty(entry.Shape, type);
        try
        {
            Copy(entry, tensor);
            return tensor;
        }
        catch
        {
            tensor.Dispose();
            throw;
        }
    }

    /// <summary>Copies a tensor into existing memory of the same shape, converting as <see cref="Load"/> does.</summary>
    /// <exception cref="CheckpointFormatException">There is no such tensor, its shape differs, or its dtype does not convert.</exception>
    public void CopyInto(string name, Tensor destination)
    {
        ArgumentNullException.ThrowIfNull(destination);
        SafetensorsEntry entry = Entry(name);
        if (entry.Shape != destination.Shape)
        {
            throw new CheckpointFormatException(
                $"{FilePath}: tensor '{name}' at byte {entry.ByteOffset} has shape {entry.Shape}, the model needs {destination.Shape}.");
        }

        CheckConversion(entry, destination.DType);
        Copy(entry, destination);
    }

    /// <summary>Copies raw bytes of a tensor, starting <paramref name="offset"/> bytes into it.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The range leaves the tensor.</exception>
    public void ReadBytes(string name, long offset, Span<byte> destination)
    {
        SafetensorsEntry entry = Entry(name);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, entry.ByteCount - destination.Length);
        ReadMapped(entry.ByteOffset + offset, destination);
    }

    /// <summary>Unmaps the file. Safe to call twice.</summary>
    public void Dispose()
    {
        _view.Dispose();
        _map.Dispose();
    }

    private static SafetensorsHeader ReadHeader(string path, FileStream stream)
    {
        long length = stream.Length;
        if (length < 8)
        {
            throw new CheckpointFormatException($"{path} is not a safetensors file: it has {length} bytes, the header length alone takes 8.");
        }

        Span<byte> prefix = stackalloc byte[8];
        stream.ReadExactly(prefix);
        ulong size = BinaryPrimitives.ReadUInt64LittleEndian(prefix);
        if (size > SafetensorsHeader.MaximumBytes)
        {
            throw new CheckpointFormatException(
                $"{path} is not a safetensors file: its header claims {size} bytes, the limit is {SafetensorsHeader.MaximumBytes}.");
        }

        if (size > (ulong)(length - 8))
        {
            throw new CheckpointFormatException(
                $"{path} is not a safetensors file: its header claims {size} bytes, the file has {length - 8} behind the length: it is cut off.");
        }

        var json = new byte[(int)size];
        stream.ReadExactly(json);
        return SafetensorsHeader.Parse(path, json, length);
    }

    private void CheckConversion(SafetensorsEntry entry, DType type)
    {
        bool converts = entry.DType == type || (type.IsFloat() && TensorBytes.IsFloatName(entry.DTypeName));
        if (!converts)
        {
            throw new CheckpointFormatException(
                $"{FilePath}: tensor '{entry.Name}' at byte {entry.ByteOffset} holds {entry.DTypeName}, which does not convert to {type}.");
        }
    }

    private void Copy(SafetensorsEntry entry, Tensor destination)
    {
        long count = entry.Shape.ElementCount;
        int stored = (int)(count == 0 ? 1 : entry.ByteCount / count);
        int chunk = (int)Math.Min(Math.Max(count, 1), ChunkElements);
        var bytes = new byte[chunk * 8];
        double[]? values = entry.DType == destination.DType ? null : new double[chunk];
        for (long start = 0; start < count; start += chunk)
        {
            int length = (int)Math.Min(chunk, count - start);
            Span<byte> raw = bytes.AsSpan(0, length * stored);
            ReadMapped(entry.ByteOffset + (start * stored), raw);
            if (values is null)
            {
                TensorBytes.CopyFrom(raw, destination, start);
            }
            else
            {
                TensorBytes.Widen(entry.DTypeName, raw, values.AsSpan(0, length));
                TensorBytes.Narrow(values.AsSpan(0, length), destination, start, bytes);
            }
        }
    }

    private void ReadMapped(long offset, Span<byte> destination)
    {
        ObjectDisposedException.ThrowIf(_view.SafeMemoryMappedViewHandle.IsClosed, this);
        _view.SafeMemoryMappedViewHandle.ReadSpan((ulong)offset, destination);
    }
}
