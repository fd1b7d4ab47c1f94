using System.Runtime.InteropServices;

namespace MoeSharp.Cpu;

/// <summary>Machine code in memory of its own: written once, then executable and never writable again (W^X).</summary>
/// <remarks>Linux on x86-64 only; elsewhere, or where the system forbids it, there is none and its callers compute with the runtime's own vectors.</remarks>
internal static unsafe partial class ExecutablePage
{
    private const int ReadWrite = 1 | 2;
    private const int ReadExecute = 1 | 4;
    private const int PrivateAnonymous = 0x02 | 0x20;

    /// <summary>Whether this system and processor can have one.</summary>
    public static bool IsSupported => OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64;

    /// <summary>Copies code into executable memory that lives as long as the process; 0 when the system refuses.</summary>
    public static nint Create(ReadOnlySpan<byte> code)
    {
        if (!IsSupported)
        {
            return 0;
        }

        var size = (nuint)((code.Length + 4095) & ~4095);
        nint memory = Map(0, size, ReadWrite, PrivateAnonymous, -1, 0);
        if (memory == -1)
        {
            return 0;
        }

        code.CopyTo(new Span<byte>((void*)memory, code.Length));
        if (Protect(memory, size, ReadExecute) != 0)
        {
            _ = Unmap(memory, size);
            return 0;
        }

        return memory;
    }

    /// <summary>The same for several routines, each at the start of a cache line: where each lies, at the indices where there is one; none at all when the system refuses.</summary>
    public static nint[] Create(IReadOnlyList<byte[]?> routines)
    {
        var entries = new nint[routines.Count];
        var all = new List<byte>();
        for (int i = 0; i < entries.Length; i++)
        {
            all.AddRange(Enumerable.Repeat((byte)0xCC, -all.Count & 63));
            entries[i] = all.Count;
            all.AddRange(routines[i] ?? []);
        }

        nint memory = Create(CollectionsMarshal.AsSpan(all));
        return memory == 0 ? [] : [.. entries.Select((entry, i) => routines[i] is null ? 0 : memory + entry)];
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int Protect(nint address, nuint length, int protection);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Unmap(nint address, nuint length);
}
