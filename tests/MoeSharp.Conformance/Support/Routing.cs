using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>Made-up ids and weights, and the plan that a stable sort makes of them, independent of any backend.</summary>
public sealed class Routing
{
    private Routing(int tokens, int topK, int experts, int[] ids, double[] weights)
    {
        (Tokens, TopK, Experts, Ids, Weights) = (tokens, topK, experts, ids, weights);
        int[] slots = [.. Enumerable.Range(0, ids.Length).Where(slot => ids[slot] >= 0 && ids[slot] < experts).OrderBy(slot => ids[slot])];
        Rows = slots.Length;
        Offsets = new int[experts + 1];
        foreach (int slot in slots)
        {
            Offsets[ids[slot] + 1]++;
        }

        for (int expert = 0; expert < experts; expert++)
        {
            Offsets[expert + 1] += Offsets[expert];
        }

        RowToken = [.. slots.Select(slot => slot / topK)];
        RowWeight = [.. slots.Select(slot => weights[slot])];
        SlotRow = [.. Enumerable.Repeat(-1, ids.Length)];
        for (int row = 0; row < slots.Length; row++)
        {
            SlotRow[slots[row]] = row;
        }
    }

    public int Tokens { get; }

    public int TopK { get; }

    public int Experts { get; }

    /// <summary>R.</summary>
    public int Rows { get; }

    public int[] Ids { get; }

    public double[] Weights { get; }

    public int[] Offsets { get; }

    public int[] RowToken { get; }

    public double[] RowWeight { get; }

    public int[] SlotRow { get; }

    /// <summary>T*K.</summary>
    public int Capacity => Tokens * TopK;

    /// <summary>Most rows of one expert.</summary>
    public int Longest => Enumerable.Range(0, Experts).Max(expert => Offsets[expert + 1] - Offsets[expert]);

    /// <summary>From given ids and weights.</summary>
    public static Routing From(int tokens, int topK, int experts, int[] ids, double[] weights) => new(tokens, topK, experts, ids, weights);

    /// <summary>Random ids: distinct experts per token, a share of null slots, and optionally one expert that most tokens choose first.</summary>
    public static Routing Random(string name, int tokens, int topK, int experts, double nullShare, int nulls = 1, bool hot = false)
    {
        CounterRandom random = Draw.Stream(name);
        ulong counter = 0;
        var ids = new int[tokens * topK];
        for (int t = 0; t < tokens; t++)
        {
            List<int> left = [.. Enumerable.Range(0, experts)];
            for (int i = 0; i < topK; i++)
            {
                bool isNull = left.Count == 0 || random.Uniform(counter++) < nullShare;
                int pick = left.Count == 0 ? 0 : hot && left[0] == 0 && random.Uniform(counter++) < 0.9 ? 0 : (int)random.Below(counter++, left.Count);
                ids[(t * topK) + i] = isNull ? -1 - (int)random.Below(counter++, nulls) : left[pick];
                if (!isNull)
                {
                    left.RemoveAt(pick);
                }
            }
        }

        return new(tokens, topK, experts, ids, Draw.Normals(name + "/weights", ids.Length));
    }

    /// <summary>The plan's tensors as inputs of an op; what lies behind the R rows is a tail.</summary>
    public OpTensor[] PlanInputs() =>
    [
        OpTensor.Ids("offsets", Offsets, Experts + 1),
        Tail(OpTensor.Ids("rowToken", RowToken, Capacity)),
        Tail(OpTensor.In("rowWeight", RowWeight, Capacity)),
        OpTensor.Ids("slotRow", SlotRow, Tokens, TopK),
    ];

    /// <summary>The plan over the tensors of a run.</summary>
    public RoutingPlan Plan(TensorSet set) =>
        new(Tokens, TopK, Experts, set["offsets"], set["rowToken"], set["rowWeight"], set["slotRow"]);

    /// <summary>Ids as an input.</summary>
    public OpTensor IdsInput() => OpTensor.Ids("ids", Ids, Tokens, TopK);

    /// <summary>Weights as an input.</summary>
    public OpTensor WeightsInput() => OpTensor.In("weights", Weights, Tokens, TopK);

    /// <summary>Real slots per chunk of tokens and expert, as the gate counts them.</summary>
    public OpTensor ChunkCountsInput()
    {
        long chunks = RoutingPlan.Chunks(Tokens);
        var counts = new int[chunks * Experts];
        for (int slot = 0; slot < Ids.Length; slot++)
        {
            if ((uint)Ids[slot] < (uint)Experts)
            {
                counts[(slot / TopK / RoutingPlan.ChunkTokens * Experts) + Ids[slot]]++;
            }
        }

        return OpTensor.Ids("chunkCounts", counts, chunks, Experts);
    }

    private OpTensor Tail(OpTensor tensor) => tensor with { Valid = Rows };
}
