using MoeSharp.Core;

namespace MoeSharp.Profiling;

/// <summary>A backend that hands every op to another one and keeps what each took: where the time of a whole program goes, op by op.</summary>
/// <remarks>
/// The problem: a training step is some hundred ops that nobody calls one by one. The choice: the model computes on this backend, whose tensors are
/// views of the other one's memory; an op is timed alone, with the clock that fits the device, and its least work follows from its arguments.
/// The files <c>TimedBackend.*.cs</c> hold the work of each op. Ops of equal name and sizes are one entry.
/// </remarks>
internal sealed partial class TimedBackend(Backend inner, StageClock clock, DeviceRoofline roofline) : Backend
{
    private readonly Dictionary<string, OpTally> _ops = [];
    private readonly Dictionary<nint, Routed> _routed = [];
    private readonly List<Tensor> _views = [];

    /// <inheritdoc/>
    public override string Name => inner.Name;

    /// <inheritdoc/>
    public override Device Device => inner.Device;

    /// <inheritdoc/>
    public override DType FloatType => inner.FloatType;

    /// <inheritdoc/>
    public override DType WideType => inner.WideType;

    /// <inheritdoc/>
    public override void Synchronize() => inner.Synchronize();

    /// <summary>What ran since the last call, by name of the op.</summary>
    public IReadOnlyDictionary<string, OpTally> Take()
    {
        Dictionary<string, OpTally> taken = new(_ops);
        _ops.Clear();
        return taken;
    }

    /// <inheritdoc/>
    protected override Storage Allocate(long byteCount)
    {
        using IDisposable suspension = TensorScope.Suspend();
        Tensor block = inner.Empty(new Shape(byteCount), DType.UInt8);
        return new Storage(block.Pointer, byteCount, _ => block.Dispose());
    }

    /// <inheritdoc/>
    protected override void CopyToDevice(ReadOnlySpan<byte> source, Tensor destination, long byteOffset)
    {
        using Tensor bytes = Raw(destination);
        bytes.CopyFrom(source, byteOffset);
    }

    /// <inheritdoc/>
    protected override void CopyToHost(Tensor source, long byteOffset, Span<byte> destination)
    {
        using Tensor bytes = Raw(source);
        bytes.CopyTo(destination, byteOffset);
    }

    private static double Bytes(params ReadOnlySpan<Tensor> operands)
    {
        double sum = 0;
        foreach (Tensor operand in operands)
        {
            sum += operand.ByteCount;
        }

        return sum;
    }

    private void Time(string name, OpWork work, Action op) => Book(name, work, clock.Time(op));

    private void Time(string name, double bytes, Action op) => Time(name, new OpWork(0, bytes), op);

    private void Book(string name, OpWork work, double microseconds)
    {
        var call = new OpTally(1, microseconds, work.Flops, work.Bytes, roofline.Microseconds(work.Flops, work.Bytes));
        _ops[name] = _ops.GetValueOrDefault(name) + call;
        _views.ForEach(view => view.Dispose());
        _views.Clear();
    }

    // The same memory as a tensor of the other backend, until the op is over. It holds no lease: the tensor of this backend lives longer.
    private Tensor In(Tensor tensor)
    {
        Tensor view = View(tensor, tensor.Shape, tensor.DType);
        _views.Add(view);
        return view;
    }

    private Tensor Raw(Tensor tensor) => View(tensor, new Shape(tensor.ByteCount), DType.UInt8);

    private Tensor View(Tensor tensor, Shape shape, DType type)
    {
        using IDisposable suspension = TensorScope.Suspend();
        return new Tensor(inner, new Storage(tensor.Pointer, tensor.ByteCount, static _ => { }), shape, type);
    }

    private RoutingPlan In(RoutingPlan plan) => plan with
    {
        Offsets = In(plan.Offsets), RowToken = In(plan.RowToken), RowWeight = In(plan.RowWeight), SlotRow = In(plan.SlotRow),
    };

    private GateResult In(GateResult gate) => new(
        In(gate.Ids), In(gate.Weights), In(gate.Counts), In(gate.ChunkCounts), In(gate.ProbabilitySums), In(gate.BalanceLoss), In(gate.ZLoss),
        gate.TopCounts is null ? null : In(gate.TopCounts));

    /// <summary>What a routing chose, read back once after its dispatch.</summary>
    private readonly record struct Routed(double Rows, double Tokens, double Experts);
}

/// <summary>Sums over the calls of an op.</summary>
/// <param name="Calls">Number of calls.</param>
/// <param name="Microseconds">Time.</param>
/// <param name="Flops">Floating-point operations.</param>
/// <param name="Bytes">Least bytes.</param>
/// <param name="Ceiling">Least time that the roofline allows, in microseconds.</param>
internal readonly record struct OpTally(int Calls, double Microseconds, double Flops, double Bytes, double Ceiling)
{
    public static OpTally operator +(OpTally a, OpTally b) =>
        new(a.Calls + b.Calls, a.Microseconds + b.Microseconds, a.Flops + b.Flops, a.Bytes + b.Bytes, a.Ceiling + b.Ceiling);
}
