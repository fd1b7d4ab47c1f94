using MoeSharp.Cpu;

namespace MoeSharp.Conformance;

/// <summary>A processor with tiles, in software: executes the very bytes that a real one would, one model of the tile registers per thread.</summary>
/// <remarks>
/// Each routine may touch its argument, the packed rows and columns of its product, and the sums of its rows: the parts are worked out here from
/// the sizes, not from the addresses of the quarters that the routine is told.
/// </remarks>
internal sealed unsafe class InterpretedTiles : TileProcessor, IDisposable
{
    private readonly CodeInterpreter _code = new(TileKernel.Code);
    private readonly ThreadLocal<(TileUnit Tiles, AddressSpace Memory)> _threads = new(static () => (new TileUnit(), new AddressSpace()), trackAllValues: true);

    /// <summary>Threads whose tiles have shapes now.</summary>
    public int Configured => _threads.Values.Count(thread => thread.Tiles.IsConfigured);

    /// <summary>Products of tiles so far.</summary>
    public long Products => _threads.Values.Sum(thread => thread.Tiles.Products);

    public override void Call(int entry, void* argument)
    {
        (TileUnit tiles, AddressSpace memory) = _threads.Value;
        memory.Clear();
        if (entry == TileKernel.ConfigureEntry)
        {
            memory.Allow(argument, 64, read: true);
        }
        else if (entry != TileKernel.ReleaseEntry)
        {
            Allow(memory, (TileKernel.Product*)argument);
        }

        _code.Call(entry, (nint)argument, tiles, memory);
    }

    public void Dispose() => _threads.Dispose();

    private static void Allow(AddressSpace memory, TileKernel.Product* product)
    {
        // The argument itself; columns, 16 pairs of 32 per block; the rows that are there, 16 pairs of 4 bytes each.
        memory.Allow(product, sizeof(TileKernel.Product), read: true);
        memory.Allow(product->B, product->Blocks * 16 * 32 * 4, read: true);
        for (nint block = 0; block < product->Blocks; block++)
        {
            memory.Allow(product->A + (block * 32 * 16), product->Rows * 16 * 4, read: true);
        }

        nint half = (nint)product->UpperRight - (nint)product->UpperLeft;
        for (nint row = 0; row < product->Rows; row++)
        {
            byte* sums = (byte*)product->UpperLeft + (row * product->Stride);
            memory.Allow(sums, 64, read: product->Add != 0, write: true);
            memory.Allow(sums + half, 64, read: product->Add != 0, write: true);
        }
    }
}
