using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>How a cell trains on a <see cref="MixedStream"/>.</summary>
/// <param name="Steps">Optimizer steps.</param>
/// <param name="Tokens">Tokens per step, all fresh.</param>
/// <param name="LearningRate">Peak; falls to a tenth by half a cosine.</param>
/// <param name="BalanceWeight">Weight of the balance loss.</param>
/// <param name="NullRate">Rate of the null-rate controller; 0 is off.</param>
/// <param name="Rho">Target of the controller.</param>
internal sealed record MixedStreamTraining(int Steps, int Tokens, double LearningRate, double BalanceWeight, double NullRate = 0, double Rho = 1);

/// <summary>Trains a <see cref="MixedStreamModel"/> and evaluates it on tokens it never saw.</summary>
internal static class MixedStreamTrainer
{
    private const int EvaluationTokens = 8192;

    /// <summary>
    /// Trains and evaluates. Gives loss (MSE), train_loss (last tenth of the steps), loss_easy, loss_hard, balance and the routing of <see cref="RoutingTally"/>;
    /// series curve: training loss over a hundred stretches.
    /// </summary>
    public static CellResult Run(Backend backend, MixedStreamModel model, MixedStreamTraining training, ulong seed, CancellationToken stop)
    {
        var result = new CellResult();
        var stream = new MixedStream(seed);
        int tokens = training.Tokens;
        float[] x = new float[tokens * MixedStream.Width], target = new float[x.Length];
        int[] kinds = new int[tokens];
        var curve = new LossCurve(training.Steps);
        using var optimizer = new AdamW(backend, model.Parameters, new AdamWOptions { WeightDecay = 0 });
        using var tape = new Tape(backend);
        using var error = new SquaredError(backend, tokens, MixedStream.Width);
        using Tensor input = backend.Empty(tokens, MixedStream.Width);
        NullRateController? controller = training.NullRate > 0 ? new NullRateController(training.Rho, training.NullRate) : null;
        for (int step = 1; step <= training.Steps; step++)
        {
            stop.ThrowIfCancellationRequested();
            stream.Train(step, tokens, x, target, kinds);
            input.CopyFrom<float>(x);
            optimizer.ZeroGradients();
            (Variable output, MoeOutput moe) = model.Forward(tape, tape.Constant(input));
            Variable loss = error.Forward(tape, output, target, out double mse);
            tape.Backward(tape.Add(loss, tape.Scale(moe.BalanceLoss, training.BalanceWeight)));
            optimizer.Update(LearningRate.WarmupCosine(step, training.Steps / 20, training.Steps, training.LearningRate, training.LearningRate / 10));
            controller?.Update(model.Moe, moe.Routing);
            curve.Add(mse);
            tape.Reset();
        }

        curve.Write(result);
        Evaluate(backend, model, stream, result, stop);
        return result;
    }

    private static void Evaluate(Backend backend, MixedStreamModel model, MixedStream stream, CellResult result, CancellationToken stop)
    {
        stop.ThrowIfCancellationRequested();
        float[] x = new float[EvaluationTokens * MixedStream.Width], target = new float[x.Length];
        int[] kinds = new int[EvaluationTokens];
        stream.Evaluate(EvaluationTokens, x, target, kinds);
        using var tape = new Tape(backend, record: false);
        using Tensor input = backend.Empty(EvaluationTokens, MixedStream.Width);
        input.CopyFrom<float>(x);
        (Variable output, MoeOutput moe) = model.Forward(tape, tape.Constant(input));
        float[] y = output.Value.ToArray<float>();
        result[Metric.Loss] = SquaredError.Of(y, target);
        for (int kind = 0; kind < MixedStream.Kinds.Length; kind++)
        {
            int[] mine = [.. Enumerable.Range(0, EvaluationTokens).Where(t => kinds[t] == kind)];
            result["loss_" + MixedStream.Kinds[kind]] = mine.Average(t => SquaredError.Of(
                y.AsSpan(t * MixedStream.Width, MixedStream.Width), target.AsSpan(t * MixedStream.Width, MixedStream.Width)));
        }

        result["balance"] = moe.BalanceLoss.Value.ToDoubles()[0];
        var tally = new RoutingTally(MixedStream.Kinds);
        tally.Add([moe], kinds);
        tally.Write(result, moe.Spec.TopK, MixedStream.Width, model.Moe.Options.ExpertWidth);
    }
}
