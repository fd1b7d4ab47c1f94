using MoeSharp.Autograd;
using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Experiments;

/// <summary>How a cell trains a language model on <see cref="MixedText"/>.</summary>
/// <param name="Steps">Optimizer steps.</param>
/// <param name="Batch">Windows per step.</param>
/// <param name="LearningRate">Peak; falls to a tenth by half a cosine.</param>
/// <param name="BalanceWeight">Weight of the balance loss.</param>
/// <param name="TrainBytes">Length of the training text.</param>
/// <param name="NullRate">Rate of the null-rate controller; 0 is off.</param>
internal sealed record LanguageTraining(int Steps, int Batch, double LearningRate, double BalanceWeight, int TrainBytes, double NullRate = 0);

/// <summary>Trains a byte-level transformer on generated text of several kinds and evaluates it on other text of the same kinds.</summary>
internal static class LanguageTrainer
{
    private const int EvaluationBytes = 1 << 15;
    private const double ZLossWeight = 1e-3;

    /// <summary>
    /// Trains and evaluates. Gives loss (bits per byte), train_loss (bits per byte over the last tenth of the steps), bits_KIND, balance and the routing
    /// by kind of <see cref="RoutingTally"/>.
    /// </summary>
    public static CellResult Run(Transformer model, LanguageTraining training, ulong seed, CancellationToken stop)
    {
        Backend backend = model.Backend;
        var result = new CellResult();
        int length = model.Config.ContextLength, rows = training.Batch * length;
        (byte[] text, _) = MixedText.Write(seed, "train", training.TrainBytes);
        var random = new CounterRandom(seed, Initializer.StreamOf("text.windows"));
        var curve = new LossCurve(training.Steps);
        var controllers = training.NullRate > 0 ? new NullRateController(model.Config.DataSparsity, training.NullRate) : null;
        int[] ids = new int[rows], targets = new int[rows];
        using var optimizer = new AdamW(backend, model.Parameters, new AdamWOptions());
        using var tape = new Tape(backend);
        using Tensor input = backend.Empty(new Shape(rows), DType.Int32), next = backend.Empty(new Shape(rows), DType.Int32);
        for (int step = 1; step <= training.Steps; step++)
        {
            stop.ThrowIfCancellationRequested();
            for (int window = 0; window < training.Batch; window++)
            {
                int start = (int)random.Below((ulong)(((long)step * training.Batch) + window), text.Length - length);
                for (int i = 0; i < length; i++)
                {
                    (ids[(window * length) + i], targets[(window * length) + i]) = (text[start + i], text[start + i + 1]);
                }
            }

            input.CopyFrom<int>(ids);
            next.CopyFrom<int>(targets);
            optimizer.ZeroGradients();
            TransformerOutput output = model.Forward(tape, input, training.Batch, length);
            Variable entropy = tape.CrossEntropy(output.Logits, next, out _);
            tape.Backward(Loss(tape, entropy, output, training.BalanceWeight));
            optimizer.Update(LearningRate.WarmupCosine(step, training.Steps / 20, training.Steps, training.LearningRate, training.LearningRate / 10));
            for (int layer = 0; controllers is not null && layer < model.MoeLayers.Count; layer++)
            {
                controllers.Update(model.MoeLayers[layer], output.Layers[layer].Routing);
            }

            curve.Add(entropy.Value.ToDoubles()[0] / Math.Log(2));
            tape.Reset();
        }

        curve.Write(result);
        Evaluate(model, seed, training.Batch, result, stop);
        return result;
    }

    /// <summary>Evaluates a model on fresh text; the same numbers as <see cref="Run"/>, without those of training.</summary>
    public static void Evaluate(Transformer model, ulong seed, int batch, CellResult result, CancellationToken stop)
    {
        int length = model.Config.ContextLength, rows = batch * length;
        (byte[] text, int[] kinds) = MixedText.Write(seed, "evaluation", EvaluationBytes);
        var tally = new RoutingTally(MixedText.Kinds);
        double[] nats = new double[MixedText.Kinds.Length];
        long[] bytes = new long[nats.Length];
        double balance = 0;
        int passes = 0;
        using var tape = new Tape(model.Backend, record: false);
        for (int start = 0; start + rows < text.Length; start += rows, passes++)
        {
            stop.ThrowIfCancellationRequested();
            Tensor input = tape.Rent(DType.Int32, rows), next = tape.Rent(DType.Int32, rows);
            input.CopyFrom<int>([.. text.AsSpan(start, rows)]);
            next.CopyFrom<int>([.. text.AsSpan(start + 1, rows)]);
            TransformerOutput output = model.Forward(tape, input, batch, length);
            _ = tape.CrossEntropy(output.Logits, next, out Tensor losses);
            double[] each = losses.ToDoubles();
            for (int i = 0; i < rows; i++)
            {
                nats[kinds[start + i + 1]] += each[i];
                bytes[kinds[start + i + 1]]++;
            }

            balance += output.BalanceLoss?.Value.ToDoubles()[0] ?? double.NaN;
            tally.Add(output.Layers, kinds.AsSpan(start, rows));
            tape.Reset();
        }

        result[Metric.Loss] = nats.Sum() / bytes.Sum() / Math.Log(2);
        for (int kind = 0; kind < nats.Length; kind++)
        {
            result["bits_" + MixedText.Kinds[kind]] = nats[kind] / Math.Max(1, bytes[kind]) / Math.Log(2);
        }

        result["balance"] = balance / passes;
        tally.Write(result, model.Config.TopK, model.Config.HiddenSize, model.Config.ExpertWidth);
    }

    private static Variable Loss(Tape tape, Variable entropy, TransformerOutput output, double balanceWeight) =>
        output.BalanceLoss is null || output.ZLoss is null ? entropy
        : tape.Add(entropy, tape.Add(tape.Scale(output.BalanceLoss, balanceWeight), tape.Scale(output.ZLoss, ZLossWeight)));
}
