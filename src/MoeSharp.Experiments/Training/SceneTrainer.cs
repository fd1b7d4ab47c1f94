using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>How a cell trains on <see cref="Scenes"/>.</summary>
/// <param name="Steps">Optimizer steps.</param>
/// <param name="Batch">Scenes per step, all fresh.</param>
/// <param name="LearningRate">Peak; falls to a tenth by half a cosine.</param>
/// <param name="BalanceWeight">Weight of the balance loss.</param>
internal sealed record SceneTraining(int Steps, int Batch, double LearningRate, double BalanceWeight);

/// <summary>Trains a model to caption scenes and looks at what it spends on which token.</summary>
internal static class SceneTrainer
{
    /// <summary>Kinds of tokens: patches of ground, patches of shapes, characters of the caption.</summary>
    public static readonly string[] Kinds = ["blank", "shape", "text"];

    /// <summary>Scenes that are kept for the picture.</summary>
    public const int Pictured = 4;

    private const int EvaluationScenes = 256;
    private const double ZLossWeight = 1e-3;

    /// <summary>
    /// Trains and evaluates. Gives loss and train_loss (bits per written character of the caption), exact (share of captions that are right to the last
    /// character when every one is the most likely given the true ones before), balance, the routing by kind, and for the first scenes the series
    /// scene_i_real: real experts per position, mean over layers.
    /// </summary>
    public static CellResult Run(SceneModel model, SceneTraining training, ulong seed, CancellationToken stop)
    {
        var result = new CellResult();
        var scenes = new Scenes(seed);
        var curve = new LossCurve(training.Steps);
        using (var batch = new SceneBatch(model.Backend, training.Batch))
        using (var optimizer = new AdamW(model.Backend, model.Parameters, new AdamWOptions { WeightDecay = 0.01 }))
        using (var tape = new Tape(model.Backend))
        {
            for (int step = 1; step <= training.Steps; step++)
            {
                stop.ThrowIfCancellationRequested();
                batch.Fill(scenes, (ulong)step * (ulong)training.Batch);
                optimizer.ZeroGradients();
                (Variable logits, IReadOnlyList<MoeOutput> layers) = model.Forward(tape, batch.Ids, batch.Pixels, training.Batch);
                Variable loss = tape.CrossEntropy(logits, batch.Targets, out _);
                curve.Add(loss.Value.ToDoubles()[0] / Math.Log(2));
                foreach (MoeOutput layer in layers)
                {
                    loss = tape.Add(loss, tape.Scale(layer.BalanceLoss, training.BalanceWeight / layers.Count));
                    loss = tape.Add(loss, tape.Scale(layer.ZLoss, ZLossWeight / layers.Count));
                }

                tape.Backward(loss);
                optimizer.Update(LearningRate.WarmupCosine(step, training.Steps / 20, training.Steps, training.LearningRate, training.LearningRate / 10));
                tape.Reset();
            }
        }

        curve.Write(result);
        Evaluate(model, scenes, training.Batch, result, stop);
        return result;
    }

    private static void Evaluate(SceneModel model, Scenes scenes, int batchSize, CellResult result, CancellationToken stop)
    {
        var tally = new RoutingTally(Kinds);
        (double nats, long characters, int exact, int seen, double balance, int passes, long drawn) = (0, 0, 0, 0, 0, 0, 0);
        using var batch = new SceneBatch(model.Backend, batchSize);
        using var tape = new Tape(model.Backend, record: false);
        for (; seen + batchSize <= Math.Max(EvaluationScenes, batchSize); seen += batchSize, passes++)
        {
            stop.ThrowIfCancellationRequested();
            batch.Fill(scenes, Scenes.EvaluationStart + (ulong)seen);
            (Variable logits, IReadOnlyList<MoeOutput> layers) = model.Forward(tape, batch.Ids, batch.Pixels, batchSize);
            _ = tape.CrossEntropy(logits, batch.Targets, out Tensor losses);
            double[] each = losses.ToDoubles();
            float[] scores = logits.Value.ToArray<float>();
            for (int scene = 0; scene < batchSize; scene++)
            {
                bool right = true;
                for (int i = scene * SceneModel.Length; i < (scene + 1) * SceneModel.Length; i++)
                {
                    int target = batch.TargetIds[i];
                    if (target >= 0)
                    {
                        nats += each[i];
                        characters++;
                        ReadOnlySpan<float> row = scores.AsSpan(i * SceneModel.FirstPatch, SceneModel.FirstPatch);
                        right &= ArgMax(row) == target;
                    }
                }

                exact += right ? 1 : 0;
            }

            balance += layers.Average(layer => layer.BalanceLoss.Value.ToDoubles()[0]);
            tally.Add(layers, batch.Kinds);
            drawn += batch.Kinds.Count(kind => kind == 1);
            for (int scene = 0; scene < batchSize && seen + scene < Pictured; scene++)
            {
                result.Series[$"scene_{seen + scene}_real"] = Real(layers, scene * SceneModel.Length);
            }

            tape.Reset();
        }

        result[Metric.Loss] = nats / characters / Math.Log(2);
        result["exact"] = exact / (double)seen;
        result["balance"] = balance / passes;
        result["patches_drawn"] = drawn / (double)(seen * SceneModel.PatchCount);
        MoeOptions options = model.MoeLayers[0].Options;
        tally.Write(result, options.Router.TopK, options.Hidden, options.ExpertWidth);
    }

    private static int ArgMax(ReadOnlySpan<float> row)
    {
        int best = 0;
        for (int i = 1; i < row.Length; i++)
        {
            best = row[i] > row[best] ? i : best;
        }

        return best;
    }

    private static double[] Real(IReadOnlyList<MoeOutput> layers, int first)
    {
        var real = new double[SceneModel.Length];
        foreach (MoeOutput layer in layers)
        {
            int slots = layer.Spec.TopK;
            int[] ids = layer.Routing.Ids.ToArray<int>();
            for (int i = 0; i < real.Length; i++)
            {
                real[i] += ids.AsSpan((first + i) * slots, slots).ToArray().Count(id => id >= 0) / (double)layers.Count;
            }
        }

        return [.. real.Select(value => Math.Round(value, 3))];
    }
}

/// <summary>Buffers of a batch of scenes.</summary>
internal sealed class SceneBatch : IDisposable
{
    private readonly int _scenes;
    private readonly int[] _ids;
    private readonly float[] _pixels;

    /// <summary>Allocates.</summary>
    public SceneBatch(Backend backend, int scenes)
    {
        _scenes = scenes;
        int rows = scenes * SceneModel.Length;
        (_ids, TargetIds, Kinds, _pixels) = (new int[rows], new int[rows], new int[rows], new float[rows * Scenes.PatchValues]);
        Ids = backend.Empty(new Shape(rows), DType.Int32);
        Targets = backend.Empty(new Shape(rows), DType.Int32);
        Pixels = backend.Empty(rows, Scenes.PatchValues);
    }

    /// <summary>Int32 [batch * Length].</summary>
    public Tensor Ids { get; }

    /// <summary>Int32 [batch * Length]: the next character, -1 where none is predicted.</summary>
    public Tensor Targets { get; }

    /// <summary>[batch * Length, PatchValues].</summary>
    public Tensor Pixels { get; }

    /// <summary>Targets on the host.</summary>
    public int[] TargetIds { get; }

    /// <summary>Kind of every position; -1 for the padding behind a caption.</summary>
    public int[] Kinds { get; }

    /// <summary>Draws the scenes from a number on.</summary>
    public void Fill(Scenes scenes, ulong first)
    {
        for (int s = 0; s < _scenes; s++)
        {
            Scene scene = scenes.Draw(first + (ulong)s);
            int start = s * SceneModel.Length;
            Scenes.CopyPatches(scene, _pixels.AsSpan(start * Scenes.PatchValues));
            for (int i = 0; i < SceneModel.Length; i++)
            {
                int character = i - SceneModel.PatchCount;
                _ids[start + i] = character < 0 ? SceneModel.FirstPatch + i : scene.Caption[character];

                // The last patch predicts the first character.
                TargetIds[start + i] = character + 1 >= 0 && character + 1 < scene.Written ? scene.Caption[character + 1] : -1;
                Kinds[start + i] = character < 0 ? (scene.IsDrawn[i] ? 1 : 0) : character < scene.Written ? 2 : -1;
            }
        }

        Ids.CopyFrom<int>(_ids);
        Targets.CopyFrom<int>(TargetIds);
        Pixels.CopyFrom<float>(_pixels);
    }

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        Ids.Dispose();
        Targets.Dispose();
        Pixels.Dispose();
    }
}
