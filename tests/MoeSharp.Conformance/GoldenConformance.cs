using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>Whole null-expert layers, forward and backward, against values that PyTorch computed in float64.</summary>
/// <remarks>
/// Tolerances of the fixtures' README: float64 within 1e-10 of the largest element (1e-6 where the expected values are stored as
/// float32); float32 within 1e-5 (1 + |value|) on outputs, 1e-4 of the largest element on gradients, 1e-5 relative on losses.
/// </remarks>
public abstract class GoldenConformance(Backend subject)
{
    /// <summary>All cases.</summary>
    public static TheoryData<string> Names { get; } = [.. GoldenCase.Names];

    private bool IsDouble => subject.FloatType == DType.Float64;

    [Theory]
    [MemberData(nameof(Names))]
    public void Layer_ForwardAndBackward_IsTheGolden(string name)
    {
        GoldenCase golden = GoldenCase.Open(name);
        using var scope = new TensorScope();
        RouterStep router = new(subject, golden, golden.Spec);
        Choice(golden, router);
        ExpertLayer layer = ExpertLayer.Run(subject, golden.Spec, router.Result.Ids.ToArray<int>(), router.Result.Weights.ToDoubles(), golden.Inputs);
        Output(golden, "out", layer.Output);

        (double[] dX, double[] dRouter) = router.Backward(layer.DWeights, 0, 0);
        Gradient(golden, "grad.x", [.. dX.Zip(layer.DX, (a, b) => a + b)]);
        Gradient(golden, "grad.router", dRouter);
        ExpertGradients(golden, layer);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Losses_AndTheirGradients_AreTheGolden(string name)
    {
        GoldenCase golden = GoldenCase.Open(name);
        using var scope = new TensorScope();
        RouterStep perSlot = new(subject, golden, golden.Spec);
        RouterStep average = new(subject, golden, golden.Spec with { NullBalance = NullBalance.Average });
        Loss(golden.Number("lb_switch"), perSlot.Result.BalanceLoss);
        Loss(golden.Number("lb_null_avg"), average.Result.BalanceLoss);
        Loss(golden.Number("z"), perSlot.Result.ZLoss);

        var none = new double[golden.Tokens * golden.Spec.TopK];
        LossGradient(golden, "grad_lb_switch", perSlot.Backward(none, 1, 0));
        LossGradient(golden, "grad_lb_null_avg", average.Backward(none, 1, 0));
        LossGradient(golden, "grad_z", perSlot.Backward(none, 0, 1));
    }

    private void Choice(GoldenCase golden, RouterStep router)
    {
        RouterSpec spec = golden.Spec;
        Output(golden, "logits", router.Logits.ToDoubles());
        double[] expected = golden.Results.Values("index");

        // Copies of one shared logit are interchangeable: which of them was chosen is compared as "null" only.
        int Slot(int id) => id >= 0 ? id : spec.SharedNullLogit ? spec.Experts : spec.Experts - 1 - id;
        Assert.Equal(
            expected.Select(slot => spec.SharedNullLogit ? (int)Math.Min(slot, spec.Experts) : (int)slot),
            router.Result.Ids.ToArray<int>().Select(Slot));
        Output(golden, "weight", router.Result.Weights.ToDoubles());
        double[] counts = golden.Results.Values("count");
        Assert.Equal(
            Enumerable.Range(0, spec.Columns).Select(column => Enumerable.Range(0, spec.Slots).Where(s => spec.ColumnOf(s) == column).Sum(s => (int)counts[s])),
            router.Result.Counts.ToArray<int>());
    }

    private void ExpertGradients(GoldenCase golden, ExpertLayer layer)
    {
        int size = golden.Width * golden.Hidden;
        double[] Part(double[] all, int stride, int offset, IEnumerable<int> experts) =>
            [.. experts.SelectMany(e => all.Skip((e * stride) + offset).Take(size))];
        foreach ((string name, double[] all, int stride, int offset) in
            ((string, double[], int, int)[])[("gate", layer.DW1, 2 * size, 0), ("up", layer.DW1, 2 * size, size), ("down", layer.DW2, size, 0)])
        {
            Gradient(golden, $"grad.{name}", Part(all, stride, offset, golden.StoredExperts));
            double[] norms = [.. Enumerable.Range(0, golden.Spec.Experts).Select(e => Math.Sqrt(Part(all, stride, offset, [e]).Sum(g => g * g)))];
            Gradient(golden, $"grad_norm.{name}", norms);
        }
    }

    private void LossGradient(GoldenCase golden, string name, (double[] DX, double[] DRouter) actual)
    {
        Gradient(golden, name + ".x", actual.DX);
        Gradient(golden, name + ".router", actual.DRouter);
    }

    private void Loss(double expected, Tensor actual)
    {
        double value = actual.ToDoubles()[0];
        Assert.True(Math.Abs(value - expected) <= (IsDouble ? 1e-10 : 1e-5) * Math.Abs(expected), $"Loss {value:R}, expected {expected:R}.");
    }

    private void Output(GoldenCase golden, string name, double[] actual) =>
        Compare(name, golden.Results.Values(name), actual, expected => IsDouble ? 1e-10 * (1 + Math.Abs(expected)) : 1e-5 * (1 + Math.Abs(expected)));

    private void Gradient(GoldenCase golden, string name, double[] actual)
    {
        double[] expected = golden.Results.Values(name);
        double largest = expected.Select(Math.Abs).DefaultIfEmpty(0).Max();
        double relative = !IsDouble ? 1e-4 : golden.Results.Type(name) == "F32" ? 1e-6 : 1e-10;

        // Gradients that cancel exactly in theory (one real expert chosen) are rounding noise of either engine around 0.
        double floor = IsDouble ? 1e-15 : 1e-7;
        Compare(name, expected, actual, _ => (relative * largest) + floor);
    }

    private static void Compare(string name, double[] expected, double[] actual, Func<double, double> allowed)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            Assert.True(
                Math.Abs(expected[i] - actual[i]) <= allowed(expected[i]),
                $"{name}[{i}] is {actual[i]:R}, expected {expected[i]:R}, allowed difference {allowed(expected[i]):E2}.");
        }
    }
}

/// <summary>The goldens on the oracle: this is what makes it one.</summary>
public sealed class GoldenOnReference(BackendPool pool) : GoldenConformance(pool.Reference);

/// <summary>The goldens on the CPU backend.</summary>
public sealed class GoldenOnCpu(BackendPool pool) : GoldenConformance(pool.Cpu);
