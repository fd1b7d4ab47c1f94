using MoeSharp.Autograd;
using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Compression;

/// <summary>Makes a Mixture-of-Experts model out of a dense one: every feed-forward layer of width H becomes N experts of width H / N (XMoE, arXiv 2403.18926).</summary>
/// <remarks>
/// <para>A SwiGLU layer is a sum over its neurons, so a partition of the neurons writes it as a sum of N smaller layers, each weighed 1. A router
/// of zeros gives each the probability 1 / N; with the factor N on the weights, and a threshold of 1, which takes all experts,
/// the new model computes the function of the old one up to the order of the sums.</para>
/// <para>It is not a split that needs no training: the router knows nothing yet, and below a threshold of 1 it would take the experts with the
/// lowest numbers. Trained on at threshold 1 it learns which experts a token needs, because each is weighed by its probability; then the
/// threshold is lowered for inference.</para>
/// <para>Deterministic. Partitions: <see cref="NeuronPartition"/>.</para>
/// </remarks>
public static class DenseSplit
{
    /// <summary>Splits a model.</summary>
    /// <param name="dense">A dense model; borrowed.</param>
    /// <param name="experts">Experts N per layer, at least 2; divides the width of the dense layers.</param>
    /// <param name="partition">Which neurons go together.</param>
    /// <returns>The new model, which the caller disposes.</returns>
    /// <exception cref="ArgumentException">The model has experts already, or N does not divide its width.</exception>
    public static Transformer Split(Transformer dense, int experts, NeuronPartition partition = NeuronPartition.Clustered)
    {
        ArgumentNullException.ThrowIfNull(dense);
        ModelConfig config = Configuration(dense.Config, experts);
        var model = new Transformer(dense.Backend, config, seed: 0);
        try
        {
            foreach ((string name, Tensor tensor) in StateCopy.Fill(model, dense))
            {
                if (name.EndsWith(".mlp.gate.weight", StringComparison.Ordinal))
                {
                    dense.Backend.Fill(tensor, 0);
                }
            }

            for (int layer = 0; layer < config.Layers; layer++)
            {
                Split(dense.DenseLayers[layer], model.MoeLayers[layer], partition);
            }

            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>The shape that a dense model has after it was split.</summary>
    /// <param name="dense">A dense model.</param>
    /// <param name="experts">Experts N per layer.</param>
    /// <exception cref="ArgumentException">The model has experts already, or N does not divide its width.</exception>
    public static ModelConfig Configuration(ModelConfig dense, int experts)
    {
        ArgumentNullException.ThrowIfNull(dense);
        int width = dense.DenseWidth;
        Guard.That(dense.IsDense, $"Only a dense model can be split; this one has {dense.Experts} experts in every layer.");
        Guard.That(
            experts >= 2 && width % experts == 0,
            $"A width of {width} does not split into {experts} experts of equal width; choose one of {string.Join(", ", Enumerable.Range(2, width - 1).Where(n => width % n == 0).Take(24))}.");
        return dense with
        {
            DenseWidth = 0,
            Experts = experts,
            ExpertWidth = width / experts,
            TopK = experts,
            DataSparsity = 1,
            Selection = Selection.Threshold,
            Threshold = 1,
            BalanceLoad = BalanceLoad.Top1,
            Renormalize = Renormalize.None,
            RoutedScale = experts,
            SelectionBias = SelectionBias.None,
        };
    }

    private static void Split(SwiGluMlp dense, MoeLayer moe, NeuronPartition partition)
    {
        (int experts, int n, int d) = (moe.Options.Router.Experts, moe.Options.ExpertWidth, moe.Options.Hidden);
        int width = experts * n;
        double[] gateUp = dense.GateUp.Weight.Value.ToDoubles(), down = dense.Down.Weight.Value.ToDoubles();
        int[][] members = partition == NeuronPartition.Contiguous
            ? [.. Enumerable.Range(0, width).Chunk(n)]
            : BalancedClusters.Find(gateUp[..(width * d)], width, experts);
        var w1 = new double[gateUp.Length];
        var w2 = new double[down.Length];
        for (int e = 0; e < experts; e++)
        {
            for (int i = 0; i < n; i++)
            {
                int neuron = members[e][i];
                gateUp.AsSpan(neuron * d, d).CopyTo(w1.AsSpan(((e * 2 * n) + i) * d));
                gateUp.AsSpan((width + neuron) * d, d).CopyTo(w1.AsSpan(((e * 2 * n) + n + i) * d));
                for (int row = 0; row < d; row++)
                {
                    w2[(((e * d) + row) * n) + i] = down[(row * width) + neuron];
                }
            }
        }

        moe.W1.Value.FromDoubles(w1);
        moe.W2.Value.FromDoubles(w2);
    }
}
