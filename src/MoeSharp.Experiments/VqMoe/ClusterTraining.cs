using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>How a stretch of training goes.</summary>
/// <param name="FirstStep">Number of its first step: points go on where the stretch before ended.</param>
/// <param name="Steps">Optimizer steps.</param>
/// <param name="LearningRate">Peak; falls to a tenth by half a cosine.</param>
/// <param name="BalanceWeight">Weight of the balance loss.</param>
/// <param name="CodeWeight">Weight of the loss of the codebook.</param>
/// <param name="Frozen">Parameters whose name holds one of these are not trained, and codes neither used nor revived.</param>
internal sealed record ClusterTraining(int FirstStep, int Steps, double LearningRate, double BalanceWeight, double CodeWeight, IReadOnlyList<string> Frozen)
{
    /// <summary>Trains a model on fresh points.</summary>
    public void Run(Backend backend, ClusterModel model, ClusterTask task, int tokens, LossCurve curve, CancellationToken stop)
    {
        float[] x = new float[tokens * ClusterTask.Width];
        int[] classes = new int[tokens];
        bool frozen = Frozen.Count > 0;
        Parameter[] trained = [.. model.Parameters.Where(parameter => !Frozen.Any(name => parameter.Name.Contains(name, StringComparison.Ordinal)))];
        using var optimizer = new AdamW(backend, trained, new AdamWOptions { WeightDecay = 0 });
        using var tape = new Tape(backend);
        using Tensor input = backend.Empty(tokens, ClusterTask.Width), targets = backend.Empty(new Shape(tokens), DType.Int32);
        for (int step = 1; step <= Steps; step++)
        {
            stop.ThrowIfCancellationRequested();
            task.Train(FirstStep + step, x, classes);
            input.CopyFrom<float>(x);
            targets.CopyFrom<int>(classes);
            model.ZeroGradients();
            (Variable logits, MoeOutput moe) = model.Forward(tape, tape.Constant(input), frozen ? null : FirstStep + step);
            Variable entropy = tape.CrossEntropy(logits, targets, out _), loss = tape.Add(entropy, tape.Scale(moe.BalanceLoss, BalanceWeight));
            curve.Add(entropy.Value.ToDoubles()[0]);
            if (moe.Discrete is { } discrete && !frozen)
            {
                loss = tape.Add(loss, tape.Scale(discrete.CodeLoss!, CodeWeight));
            }

            tape.Backward(loss);
            optimizer.Update(Autograd.LearningRate.WarmupCosine(step, Steps / 20, Steps, LearningRate, LearningRate / 10));
            if (!frozen)
            {
                model.Moe.Codes?.Revive();
            }

            tape.Reset();
        }
    }
}
