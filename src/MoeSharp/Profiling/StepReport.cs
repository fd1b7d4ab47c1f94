using MoeSharp.Models;

namespace MoeSharp.Profiling;

/// <summary>An op of a training step: all its calls together.</summary>
/// <param name="Row">Time, work and ceiling per step.</param>
/// <param name="Calls">Calls per step.</param>
public sealed record StepOp(ProfileRow Row, int Calls);

/// <summary>Where an optimizer step goes.</summary>
/// <param name="Options">What was trained.</param>
/// <param name="Device">The device in words.</param>
/// <param name="DType">Float type of activations and weights.</param>
/// <param name="RealShare">Share of slots that hit a real expert in the last step.</param>
/// <param name="Samples">Timed steps.</param>
/// <param name="Microseconds">Median time of a step that was not watched.</param>
/// <param name="Ops">All ops, those that take most of the time first.</param>
public sealed record StepReport(
    TrainOptions Options, string Device, Core.DType DType, double RealShare, int Samples, double Microseconds, IReadOnlyList<StepOp> Ops)
{
    /// <summary>Tokens per second of the step that was not watched.</summary>
    public double TokensPerSecond => Options.TokensPerStep / Microseconds * 1e6;

    /// <summary>The sum over the ops.</summary>
    public ProfileRow Total => new(
        "all ops", Ops.Sum(op => op.Row.Microseconds), double.NaN, Ops.Sum(op => op.Row.Flops), Ops.Sum(op => op.Row.Bytes), Ops.Sum(op => op.Row.Ceiling));

    /// <summary>What the ops leave of a step: making them, drawing batches, reading back losses and counts. On a GPU, where ops are timed from cold caches, it can be negative.</summary>
    public double Rest => Microseconds - Total.Microseconds;
}
