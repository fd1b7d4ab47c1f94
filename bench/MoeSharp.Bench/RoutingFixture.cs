using MoeSharp.Core;
using MoeSharp.Cpu;

namespace MoeSharp.Bench;

/// <summary>One MoE layer's tensors with a routing drawn at random: every slot is real with probability rho, experts are uniform.</summary>
/// <remarks>
/// The routing is drawn instead of learnt, so that rho, K and the shape can be varied one at a time. A token never picks an expert twice.
/// All buffers exist before the first measurement: what is timed allocates nothing.
/// </remarks>
public sealed class RoutingFixture : IDisposable
{
    private readonly List<Tensor> _owned = [];

    public RoutingFixture(int tokens, int hidden, int width, int experts, int topK, double rho, int threads = 0)
    {
        Backend = new CpuBackend(threads);
        Spec = RouterSpec.WithNulls(experts, topK, rho);
        var random = new CounterRandom(1, 0);
        ulong counter = 0;
        X = Normal(random, ref counter, tokens, hidden);
        DOut = Normal(random, ref counter, tokens, hidden);
        W1 = Normal(random, ref counter, experts, 2 * width, hidden);
        W2 = Normal(random, ref counter, experts, hidden, width);
        Logits = Normal(random, ref counter, tokens, Spec.Columns);
        DLogits = Own(Backend.Empty(tokens, Spec.Columns));
        Gate = new GateResult(
            Integers(tokens, topK), Own(Backend.Empty(tokens, topK)), Integers(Spec.Columns), Own(Backend.Empty(Spec.Columns)),
            Own(Backend.Empty(1)), Own(Backend.Empty(1)));
        One = Own(Backend.Empty(1));
        Backend.Fill(One, 1);
        Ids = Integers(tokens, topK);
        Ids.CopyFrom<int>(DrawIds(tokens, experts, topK, rho));
        Weights = Own(Backend.Empty(tokens, topK));
        Backend.Fill(Weights, 1.0 / topK);
        long rows = (long)tokens * topK;
        Plan = new RoutingPlan(
            tokens, topK, experts, Integers(experts + 1), Integers(rows), Own(Backend.Empty(rows)), Integers(tokens, topK));
        Z = Own(Backend.Empty(rows, 2L * width));
        A = Own(Backend.Empty(rows, width));
        Y = Own(Backend.Empty(rows, hidden));
        Output = Own(Backend.Empty(tokens, hidden));
        DZ = Own(Backend.Empty(rows, 2L * width));
        WeightedA = Own(Backend.Empty(rows, width));
        DRowWeight = Own(Backend.Empty(rows));
        DXRows = Own(Backend.Empty(rows, hidden));
        DX = Own(Backend.Empty(tokens, hidden));
        DWeights = Own(Backend.Empty(tokens, topK));
        DW1 = Own(Backend.Empty(experts, 2L * width, hidden));
        DW2 = Own(Backend.Empty(experts, hidden, width));
        Backend.Fill(DW1, 0);
        Backend.Fill(DW2, 0);
        Backend.Fill(DWeights, 0.1);
        Dispatch();
        Rows = Plan.Offsets.ToArray<int>()[experts];
    }

    public CpuBackend Backend { get; }

    public RouterSpec Spec { get; }

    /// <summary>Real rows R of the routing.</summary>
    public int Rows { get; }

    private Tensor X { get; }

    private Tensor DOut { get; }

    private Tensor W1 { get; }

    private Tensor W2 { get; }

    private Tensor Logits { get; }

    private Tensor DLogits { get; }

    private GateResult Gate { get; }

    private Tensor One { get; }

    private Tensor Ids { get; }

    private Tensor Weights { get; }

    private RoutingPlan Plan { get; }

    private Tensor Z { get; }

    private Tensor A { get; }

    private Tensor Y { get; }

    private Tensor Output { get; }

    private Tensor DZ { get; }

    private Tensor WeightedA { get; }

    private Tensor DRowWeight { get; }

    private Tensor DXRows { get; }

    private Tensor DX { get; }

    private Tensor DWeights { get; }

    private Tensor DW1 { get; }

    private Tensor DW2 { get; }

    public void GateForward() => Backend.Gate(Logits, null, Spec, Gate);

    public void GateBackward() => Backend.GateBackward(Logits, Gate.Ids, DWeights, Gate.Counts, One, One, Spec, DLogits);

    public void Dispatch() => Backend.Dispatch(Ids, Weights, Plan);

    public void ExpertsForward()
    {
        Backend.ExpertUp(X, W1, Plan, Z, A);
        Backend.ExpertDown(A, W2, Plan, Y);
    }

    public void Combine() => Backend.Combine(Y, X, Ids, Weights, Plan, Spec, Output);

    public void ExpertsBackward()
    {
        Backend.ExpertDownBackward(DOut, Z, W2, Plan, DZ, WeightedA, DRowWeight);
        Backend.ExpertDownWeightGrad(DOut, WeightedA, Plan, DW2);
        Backend.ExpertUpBackward(DZ, W1, Plan, DXRows);
        Backend.ExpertUpWeightGrad(DZ, X, Plan, DW1);
    }

    public void CombineBackward() => Backend.CombineBackward(DXRows, DRowWeight, DOut, X, Ids, Weights, Plan, Spec, DX, DWeights);

    public void Dispose()
    {
        foreach (Tensor tensor in _owned)
        {
            tensor.Dispose();
        }

        Backend.Dispose();
    }

    private static int[] DrawIds(int tokens, int experts, int topK, double rho)
    {
        var random = new CounterRandom(2, 0);
        ulong counter = 0;
        var ids = new int[tokens * topK];
        var pool = new int[experts];
        for (int t = 0; t < tokens; t++)
        {
            for (int e = 0; e < experts; e++)
            {
                pool[e] = e;
            }

            for (int k = 0; k < topK; k++)
            {
                bool real = random.Uniform(counter++) < rho && k < experts;
                int pick = k + (int)random.Below(counter++, Math.Max(experts - k, 1));
                if (real)
                {
                    (pool[k], pool[pick]) = (pool[pick], pool[k]);
                }

                ids[(t * topK) + k] = real ? pool[k] : -1;
            }
        }

        return ids;
    }

    private Tensor Normal(CounterRandom random, ref ulong counter, params ReadOnlySpan<long> shape)
    {
        Tensor tensor = Own(Backend.Empty(shape));
        var values = new float[tensor.ElementCount];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = (float)(random.Uniform(counter++) - 0.5);
        }

        tensor.CopyFrom<float>(values);
        return tensor;
    }

    private Tensor Integers(params ReadOnlySpan<long> shape) => Own(Backend.Empty(new Shape(shape), DType.Int32));

    private Tensor Own(Tensor tensor)
    {
        _owned.Add(tensor);
        return tensor;
    }
}
