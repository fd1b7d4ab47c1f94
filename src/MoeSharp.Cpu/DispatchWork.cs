using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>The two passes of dispatch over a chunk of tokens: count the rows per expert, then place them.</summary>
internal unsafe struct DispatchWork
{
    private const int Chunk = RoutingPlan.ChunkTokens;

    /// <summary>[T, K].</summary>
    public int* Ids, SlotRow;

    /// <summary>[T, K].</summary>
    public float* Weights;

    /// <summary>[T*K].</summary>
    public int* RowToken;

    /// <summary>[T*K].</summary>
    public float* RowWeight;

    /// <summary>[chunks, E]: counts after the first pass, the next free row in the second.</summary>
    public int* Next;

    /// <summary>Sizes.</summary>
    public int Tokens, TopK, Experts;

    /// <summary>Counts the rows of every expert in a chunk.</summary>
    public readonly void Count(int chunk)
    {
        int* counts = Next + ((nint)chunk * Experts);
        new Span<int>(counts, Experts).Clear();
        nint end = End(chunk);
        for (nint slot = (nint)chunk * Chunk * TopK; slot < end; slot++)
        {
            if ((uint)Ids[slot] < (uint)Experts)
            {
                counts[Ids[slot]]++;
            }
        }
    }

    /// <summary>Writes the rows of a chunk, tokens and slots ascending.</summary>
    public readonly void Place(int chunk)
    {
        int* next = Next + ((nint)chunk * Experts);
        int last = (int)Math.Min(Tokens, (chunk + 1L) * Chunk);
        for (int token = chunk * Chunk; token < last; token++)
        {
            for (nint slot = (nint)token * TopK; slot < ((nint)token + 1) * TopK; slot++)
            {
                if ((uint)Ids[slot] >= (uint)Experts)
                {
                    SlotRow[slot] = -1;
                    continue;
                }

                int row = next[Ids[slot]]++;
                SlotRow[slot] = row;
                RowToken[row] = token;
                RowWeight[row] = Weights[slot];
            }
        }
    }

    private readonly nint End(int chunk) => (nint)Math.Min(Tokens, (chunk + 1L) * Chunk) * TopK;
}
