using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Measures bits per byte and the use of experts on a text.</summary>
/// <remarks>
/// The text is cut into windows of the context length that do not overlap, and each window starts without memory of the one before. So the
/// first bytes of a window are predicted from little context: the number is an upper bound of what sliding windows would
/// give. Every byte but the first of the text is predicted exactly once when all windows are used. Sums are in double and in text order, so the
/// result does not depend on threads; it does not depend on the batch size beyond rounding inside the model.
/// </remarks>
public static class Evaluator
{
    /// <summary>Evaluates a model.</summary>
    /// <param name="model">A byte-level model.</param>
    /// <param name="validation">The text, at least 2 bytes.</param>
    /// <param name="batch">Windows per forward pass.</param>
    /// <param name="maxBytes">About how many bytes to predict at most; windows are then spread evenly over the text.</param>
    /// <param name="cancellationToken">Checked before every forward pass.</param>
    /// <exception cref="ArgumentException">The text is too short or a number is below 1.</exception>
    public static EvaluationResult Run(
        Transformer model, ReadOnlySpan<byte> validation, int batch, long maxBytes = long.MaxValue, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        using var tape = new Tape(model.Backend, record: false);
        return Run(model, tape, validation, batch, maxBytes, cancellationToken);
    }

    /// <summary>Share of slots of every byte of a text that hold no real expert, mean over layers; NaN everywhere for a dense model.</summary>
    /// <param name="model">A byte-level model.</param>
    /// <param name="text">The text; windows as in <see cref="Run(Transformer, ReadOnlySpan{byte}, int, long, CancellationToken)"/>.</param>
    public static double[] NullShares(Transformer model, ReadOnlySpan<byte> text)
    {
        IReadOnlyList<int[]> real = RealExperts(model, text);
        return
        [
            .. Enumerable.Range(0, text.Length).Select(i =>
                real.Zip(model.MoeLayers, (counts, layer) => 1 - ((double)counts[i] / layer.Router.Spec.TopK)).DefaultIfEmpty(double.NaN).Average()),
        ];
    }

    /// <summary>How many real experts every byte of a text uses.</summary>
    /// <param name="model">A byte-level model.</param>
    /// <param name="text">The text; windows as in <see cref="Run(Transformer, ReadOnlySpan{byte}, int, long, CancellationToken)"/>.</param>
    /// <returns>Per MoE layer, a count of 0..K per byte; nothing for a dense model.</returns>
    public static IReadOnlyList<int[]> RealExperts(Transformer model, ReadOnlySpan<byte> text)
    {
        ArgumentNullException.ThrowIfNull(model);
        var counts = new int[model.MoeLayers.Count][];
        for (int layer = 0; layer < counts.Length; layer++)
        {
            counts[layer] = new int[text.Length];
        }

        using var tape = new Tape(model.Backend, record: false);
        for (int start = 0; start < text.Length && counts.Length > 0; start += model.Config.ContextLength)
        {
            int length = Math.Min(model.Config.ContextLength, text.Length - start);
            Tensor ids = tape.Rent(DType.Int32, length);
            ids.CopyFrom<int>([.. text.Slice(start, length)]);
            TransformerOutput output = model.Forward(tape, ids, 1, length);
            for (int layer = 0; layer < counts.Length; layer++)
            {
                int[] chosen = output.Layers[layer].Routing.Ids.ToArray<int>();
                for (int i = 0; i < chosen.Length; i++)
                {
                    counts[layer][start + (i / output.Layers[layer].Spec.TopK)] += chosen[i] >= 0 ? 1 : 0;
                }
            }

            tape.Reset();
        }

        return counts;
    }

    internal static EvaluationResult Run(
        Transformer model, Tape tape, ReadOnlySpan<byte> text, int batch, long maxBytes, CancellationToken cancellationToken)
    {
        Guard.That(text.Length >= 2, $"An evaluation predicts each byte from those before; it needs at least 2 bytes, got {text.Length}.");
        Guard.That(batch >= 1 && maxBytes >= 1, $"An evaluation needs at least 1 window and 1 byte, got {batch} and {maxBytes}.");
        int context = model.Config.ContextLength;
        var classes = new TokenClass[text.Length];
        TokenClassifier.Classify(text, classes);
        var tally = new EvaluationTally(model.Config);
        long windows = (text.Length - 2L) / context + 1;
        long chosen = Math.Clamp(maxBytes / context, 1, windows);
        int width = (int)Math.Min(batch, chosen), length = Math.Min(context, text.Length - 1);
        var starts = new int[width];
        for (long first = 0; first < chosen; first += width)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int count = (int)Math.Min(width, chosen - first);
            for (int i = 0; i < count; i++)
            {
                starts[i] = (int)((first + i) * windows / chosen * context);
            }

            Predict(model, tape, text, classes, starts.AsSpan(0, count), length, tally);
            tape.Reset();
        }

        return tally.Result();
    }

    private static void Predict(
        Transformer model, Tape tape, ReadOnlySpan<byte> text, TokenClass[] classes, ReadOnlySpan<int> starts, int length, EvaluationTally tally)
    {
        // The last window of the text may be short: what is missing is padded behind it, where causal attention does not look, and not counted.
        var ids = new int[starts.Length * length];
        var targets = new int[ids.Length];
        var sources = new int[ids.Length];
        for (int i = 0; i < ids.Length; i++)
        {
            int place = starts[i / length] + (i % length);
            bool counts = place + 1 < text.Length;
            ids[i] = counts ? text[place] : 0;
            targets[i] = counts ? text[place + 1] : -1;
            sources[i] = counts ? place : -1;
        }

        Tensor idTensor = tape.Rent(DType.Int32, ids.Length), targetTensor = tape.Rent(DType.Int32, ids.Length);
        idTensor.CopyFrom<int>(ids);
        targetTensor.CopyFrom<int>(targets);
        TransformerOutput output = model.Forward(tape, idTensor, starts.Length, length);
        _ = tape.CrossEntropy(output.Logits, targetTensor, out Tensor losses);
        tally.AddLosses(losses.ToDoubles(), sources);
        for (int layer = 0; layer < output.Layers.Count; layer++)
        {
            tally.AddRouting(layer, output.Layers[layer].Routing.Ids.ToArray<int>(), output.Layers[layer].Spec.TopK, sources, classes);
        }
    }
}
