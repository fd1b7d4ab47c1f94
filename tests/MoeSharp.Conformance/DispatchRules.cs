using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>Dispatch on every backend against a stable sort of the standard library, and the invariants of a plan.</summary>
public abstract class DispatchRules(Backend subject)
{
    /// <summary>Names of the cases.</summary>
    public static TheoryData<string> Names { get; } = [.. Plans.Select(op => op.Name)];

    /// <summary>The cases of the family that make a plan.</summary>
    private static IEnumerable<OpCase> Plans => DispatchCases.All.Concat(DispatchCases.Large).Where(op => op.Tensors.Any(tensor => tensor.Name == "slotRow"));

    [Theory]
    [MemberData(nameof(Names))]
    public void Plan_IsTheStableSort_AndHoldsItsInvariants(string name)
    {
        OpCase op = Plans.Single(candidate => candidate.Name == name);
        OpRun run = op.RunOn(subject, Poison.Loud);
        long[] shape = op.Tensors.Single(tensor => tensor.Name == "slotRow").Shape;
        int experts = run["offsets"].Length - 1, topK = (int)shape[1];
        int[] ids = Array.ConvertAll(run["ids"], x => (int)x);
        Routing expected = Routing.From((int)shape[0], topK, experts, ids, run["weights"]);
        Assert.Equal(expected.Offsets, Array.ConvertAll(run["offsets"], x => (int)x));
        Assert.Equal(expected.RowToken, Array.ConvertAll(run["rowToken"], x => (int)x));
        Assert.Equal(expected.RowWeight, run["rowWeight"]);
        Assert.Equal(expected.SlotRow, Array.ConvertAll(run["slotRow"], x => (int)x));
        Invariants(ids, topK, experts, run);
    }

    /// <summary>What holds for any plan, without a second sort: the rows are exactly the real slots, expert by expert, tokens ascending.</summary>
    private static void Invariants(int[] ids, int topK, int experts, OpRun run)
    {
        var seen = new bool[(int)run["offsets"][experts]];
        for (int slot = 0; slot < ids.Length; slot++)
        {
            int row = (int)run["slotRow"][slot];
            bool real = ids[slot] >= 0 && ids[slot] < experts;
            Assert.Equal(real, row >= 0);
            if (real)
            {
                Assert.False(seen[row]);
                seen[row] = true;
                Assert.Equal(slot / topK, run["rowToken"][row]);
                Assert.InRange(row, (int)run["offsets"][ids[slot]], (int)run["offsets"][ids[slot] + 1] - 1);
            }
        }

        Assert.All(seen, Assert.True);
        for (int e = 0; e < experts; e++)
        {
            double[] tokens = run["rowToken"][(int)run["offsets"][e]..(int)run["offsets"][e + 1]];
            Assert.Equal(tokens.Order(), tokens);
        }
    }
}

/// <summary>Dispatch of the oracle.</summary>
public sealed class DispatchRulesOnReference(BackendPool pool) : DispatchRules(pool.Reference);

/// <summary>Dispatch of the CPU backend.</summary>
public sealed class DispatchRulesOnCpu(BackendPool pool) : DispatchRules(pool.Cpu);

public sealed class DispatchRulesOnCpu16(BackendPool pool) : DispatchRules(pool.Cpu16);
