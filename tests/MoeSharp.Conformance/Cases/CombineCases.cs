using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>Combine and the constant experts of MoE++, forward and backward, with every null kind.</summary>
public sealed class CombineCases : ICatalog
{
    public static IReadOnlyList<OpCase> All { get; } =
    [
        .. Build("T0", 0, 2, 4, 0.5, 5), .. Build("T1", 1, 1, 1, 0, 1), .. Build("T6 all null", 6, 3, 4, 1, 7), .. Build("T20", 20, 4, 8, 0.5, 33),
        .. Build("T33 few nulls", 33, 8, 16, 0.1, 16), .. Build("T40 wide", 40, 2, 3, 0.6, 130),
    ];

    public static IReadOnlyList<OpCase> Large { get; } = [.. Build("T1100", 1100, 4, 16, 0.5, 97)];

    /// <summary>Two zero nulls, two identities, two constants: null ids -1..-6.</summary>
    private static RouterSpec Spec(int experts, int topK) => new()
    {
        Experts = experts, TopK = topK, SharedNullLogit = false,
        Nulls = [new(NullKind.Zero, 1), new(NullKind.Constant, 1), new(NullKind.Identity, 2), new(NullKind.Constant, 1), new(NullKind.Zero, 1)],
    };

    private static IEnumerable<OpCase> Build(string name, int t, int k, int e, double nullShare, int d)
    {
        RouterSpec spec = Spec(e, k);
        Routing routing = Routing.Random("combine" + name, t, k, e, nullShare, spec.NullSlots);
        yield return Combine(name, routing, spec, d);
        yield return CombineBackward(name, routing, spec, d);
        yield return ConstantExperts(name, routing, spec, d);
        yield return ConstantExpertsBackward(name, routing, spec, d);
    }

    private static OpCase Combine(string name, Routing routing, RouterSpec spec, int d) => new(
        $"Combine {name}",
        [Rows(name + "y", "y", routing, d), Tokens(name, "x", routing, d), routing.IdsInput(), routing.WeightsInput(), .. routing.PlanInputs(), OpTensor.Out("output", routing.Tokens, d)],
        (backend, s) => backend.Combine(s["y"], s["x"], s["ids"], s["weights"], routing.Plan(s), spec, s["output"]),
        run => new() { ["output"] = Tolerance.Sum(run.Magnitudes()["output"], (2 * routing.TopK) + 2) });

    private static OpCase CombineBackward(string name, Routing routing, RouterSpec spec, int d) => new(
        $"CombineBackward {name}",
        [
            Rows(name + "dx", "dXRows", routing, d), OpTensor.In("dRowWeight", Draw.Normals(name + "dw", routing.Capacity), routing.Capacity).First(routing.Rows),
            Tokens(name, "dOut", routing, d), Tokens(name, "x", routing, d), routing.IdsInput(), routing.WeightsInput(), .. routing.PlanInputs(),
            OpTensor.Out("dX", routing.Tokens, d), OpTensor.Out("dWeights", routing.Tokens, routing.TopK),
        ],
        (backend, s) => backend.CombineBackward(
            s["dXRows"], s["dRowWeight"], s["dOut"], s["x"], s["ids"], s["weights"], routing.Plan(s), spec, s["dX"], s["dWeights"]),
        run =>
        {
            OpRun magnitudes = run.Magnitudes();
            return new()
            {
                ["dX"] = Tolerance.Sum(magnitudes["dX"], (2 * routing.TopK) + 2), ["dWeights"] = Tolerance.Sum(magnitudes["dWeights"], d),
            };
        });

    private static OpCase ConstantExperts(string name, Routing routing, RouterSpec spec, int d) => new(
        $"ConstantExperts {name}",
        [
            Tokens(name, "x", routing, d), Tokens(name, "mix", routing, 2 * spec.ConstantSlots), Constants(name, "constants", Role.In, spec, d),
            routing.IdsInput(), routing.WeightsInput(), Tokens(name, "output", routing, d) with { Role = Role.InOut },
        ],
        (backend, s) => backend.ConstantExperts(s["x"], s["mix"], s["constants"], s["ids"], s["weights"], spec, s["output"]),
        run => new() { ["output"] = Tolerance.Sum(run.Magnitudes("mix")["output"], (4 * routing.TopK) + MixError(run)) });

    private static OpCase ConstantExpertsBackward(string name, Routing routing, RouterSpec spec, int d) => new(
        $"ConstantExpertsBackward {name}",
        [
            Tokens(name, "x", routing, d), Tokens(name, "mix", routing, 2 * spec.ConstantSlots), Constants(name, "constants", Role.In, spec, d),
            routing.IdsInput(), routing.WeightsInput(), Tokens(name, "dOut", routing, d), Tokens(name, "dX", routing, d) with { Role = Role.InOut },
            OpTensor.Out("dMix", routing.Tokens, 2 * spec.ConstantSlots), Constants(name, "dConstants", Role.InOut, spec, d),
            OpTensor.InOut("dWeights", Draw.Normals(name + "dweights", routing.Capacity), routing.Tokens, routing.TopK),
        ],
        (backend, s) => backend.ConstantExpertsBackward(
            s["x"], s["mix"], s["constants"], s["ids"], s["weights"], s["dOut"], spec, s["dX"], s["dMix"], s["dConstants"], s["dWeights"]),
        run => ConstantBounds(run, routing, d));

    private static Dictionary<string, double[]> ConstantBounds(OpRun run, Routing routing, int d)
    {
        OpRun magnitudes = run.Magnitudes("mix");

        // dMix has the difference <dOut, x> - <dOut, c>: with c negative and the rest positive the magnitudes add up. An error of m
        // is one of its larger half, so m0 m1 is bounded by the smaller of the two times its own relative error.
        OpRun opposite = run.With(tensor => tensor.IsInteger || tensor.Name == "mix"
            ? tensor.Data
            : Array.ConvertAll(tensor.Data, x => tensor.Name == "constants" ? -Math.Abs(x) : Math.Abs(x)));
        double mix = MixError(run);
        return new()
        {
            ["dX"] = Tolerance.Sum(magnitudes["dX"], (2 * routing.TopK) + mix),
            ["dConstants"] = Tolerance.Sum(magnitudes["dConstants"], (2 * routing.Tokens * routing.TopK) + mix),
            ["dWeights"] = Tolerance.Sum(magnitudes["dWeights"], d + 4 + mix),
            ["dMix"] = Tolerance.Sum(Array.ConvertAll(opposite["dMix"], Math.Abs), d + 8 + (2 * mix)),
        };
    }

    /// <summary>Roundings of softmax over two logits: exp of a difference of at most their spread, one sum, one quotient; 1 - m may follow.</summary>
    private static double MixError(OpRun run) =>
        (2 * Tolerance.Function) + 4 + Enumerable.Range(0, run["mix"].Length / 2)
            .Select(i => Math.Abs(run["mix"][2 * i] - run["mix"][(2 * i) + 1]))
            .Select(spread => (2 * spread) + Math.Exp(spread)).DefaultIfEmpty(0).Max();

    private static OpTensor Rows(string seed, string name, Routing routing, int width) =>
        OpTensor.In(name, Draw.Normals(seed, (long)routing.Capacity * width), routing.Capacity, width).First(routing.Rows);

    private static OpTensor Tokens(string seed, string name, Routing routing, int width) =>
        OpTensor.In(name, Draw.Normals(seed + name, (long)routing.Tokens * width, 0.7), routing.Tokens, width);

    private static OpTensor Constants(string seed, string name, Role role, RouterSpec spec, int d) =>
        new(name, role, false, [spec.ConstantSlots, d], Draw.Normals(seed + name, (long)spec.ConstantSlots * d));
}
