namespace MoeSharp.Conformance;

/// <summary>The memory that a routine may touch: every access lies inside one of its parts, and writes only where writing is allowed.</summary>
internal sealed unsafe class AddressSpace
{
    private readonly List<(nint Start, nint Length, bool Read, bool Write)> _parts = [];

    /// <summary>Forgets all parts.</summary>
    public void Clear() => _parts.Clear();

    /// <summary>Adds a part.</summary>
    public void Allow(void* start, nint length, bool read, bool write = false) => _parts.Add(((nint)start, length, read, write));

    /// <summary>Bytes that may be read.</summary>
    public ReadOnlySpan<byte> Read(nint address, int length) => new((void*)Check(address, length, write: false), length);

    /// <summary>Bytes that may be written.</summary>
    public Span<byte> Write(nint address, int length) => new((void*)Check(address, length, write: true), length);

    private nint Check(nint address, int length, bool write)
    {
        foreach ((nint start, nint size, bool canRead, bool canWrite) in _parts)
        {
            if (address >= start && address + length <= start + size && (write ? canWrite : canRead))
            {
                return address;
            }
        }

        throw new TileTrapException($"{length} bytes at {address:x} must not be {(write ? "written" : "read")}.");
    }
}

/// <summary>What a processor would refuse, or a routine must not do.</summary>
public sealed class TileTrapException(string message) : Exception(message);
