using MoeSharp.Core;

namespace MoeSharp.Autograd;

/// <summary>
/// Balances the experts over all micro-batches of a step together, as if they were one batch (global-batch balance, arXiv 2501.11873; the
/// null-expert paper, arXiv 2601.15370, takes its statistics over the global batch).
/// </summary>
/// <remarks>
/// <para>The problem: a balance loss per micro-batch forces every micro-batch to the same mix of experts, however different its tokens
/// are. The difficulty: the loss S * sum over slots of f_s q_s is no mean over micro-batches, because the load f of the whole step is
/// needed before the first backward pass, when the later micro-batches have not been seen; keeping all forward passes until then costs the
/// memory that accumulation is there to save.</para>
/// <para>The choice: f has no gradient, and q is a mean over tokens. So the loads are measured first, by a forward pass over every micro-batch
/// but the first that is thrown away; what is kept is C integers per layer and micro-batch. Then, for micro-batches of equally many tokens:
/// the mean over micro-batches of <see cref="MoeOutput.BalanceLoss"/>, and of its gradient, equal those of one pass over all tokens up to
/// the rounding of sums. The other losses are means over tokens and equal them anyway. The price is one forward pass per micro-batch but the
/// first: (m - 1) / m of a third of the step's arithmetic. Nothing is carried from step to step. Routers whose balance loss is
/// not that of the gate (noisy top-k: coefficients of variation) or that need none (expert choice, hash) keep their own.</para>
/// <para>Use, per step: <see cref="Clear"/>; for every micro-batch but the first a forward pass, <see cref="Record"/>, and
/// <see cref="Tape.Reset"/> without backward; then for every micro-batch in order <see cref="Enter"/>, forward, <see cref="Record"/>,
/// backward; at last <see cref="Leave"/>. Both passes over a micro-batch must route alike: same weights, same selection bias.</para>
/// </remarks>
public sealed class GlobalBalance : IDisposable
{
    private readonly IReadOnlyList<MoeLayer> _layers;
    private readonly Tensor[] _others;
    private readonly int[][][] _loads;
    private readonly int[][] _sums;

    /// <summary>Makes room for the loads of a step.</summary>
    /// <param name="backend">Whose memory the layers are in.</param>
    /// <param name="layers">The MoE layers in order; borrowed.</param>
    /// <param name="microBatches">Micro-batches per step, at least 1.</param>
    /// <exception cref="ArgumentException">There is no micro-batch.</exception>
    public GlobalBalance(Backend backend, IReadOnlyList<MoeLayer> layers, int microBatches)
    {
        ArgumentNullException.ThrowIfNull(backend);
        ArgumentNullException.ThrowIfNull(layers);
        Guard.That(microBatches >= 1, $"A step has at least 1 micro-batch, got {microBatches}.");
        _layers = layers;
        _sums = [.. layers.Select(layer => new int[layer.Router.Spec.Columns])];
        _loads = [.. Enumerable.Range(0, microBatches).Select(_ => (int[][])[.. _sums.Select(sum => new int[sum.Length])])];
        using (TensorScope.Suspend())
        {
            _others = [.. _sums.Select(sum => backend.Empty(new Shape(sum.Length), DType.Int32))];
        }
    }

    /// <summary>Forgets the loads of the step before.</summary>
    public void Clear()
    {
        foreach (int[] loads in _loads.SelectMany(layers => layers))
        {
            Array.Clear(loads);
        }
    }

    /// <summary>Notes the loads of a forward pass, which it reads back; a later pass over the same micro-batch replaces them.</summary>
    /// <param name="microBatch">Which one, from 0.</param>
    /// <param name="outputs">What the layers gave, in order.</param>
    /// <exception cref="ArgumentException">There are not as many outputs as layers.</exception>
    public void Record(int microBatch, IReadOnlyList<MoeOutput> outputs)
    {
        Guard.That(outputs.Count == _layers.Count, $"There are {_layers.Count} MoE layers, got {outputs.Count} outputs.");
        for (int layer = 0; layer < outputs.Count; layer++)
        {
            outputs[layer].Routing.Loads.CopyTo<int>(_loads[microBatch][layer]);
        }
    }

    /// <summary>Gives every layer the recorded loads of all micro-batches but one.</summary>
    /// <param name="microBatch">The one whose forward pass comes next.</param>
    /// <exception cref="OverflowException">A load of the step does not fit 32 bits.</exception>
    public void Enter(int microBatch)
    {
        for (int layer = 0; layer < _layers.Count; layer++)
        {
            int[] sum = _sums[layer];
            Array.Clear(sum);
            for (int other = 0; other < _loads.Length; other++)
            {
                for (int column = 0; column < sum.Length && other != microBatch; column++)
                {
                    sum[column] = checked(sum[column] + _loads[other][layer][column]);
                }
            }

            _others[layer].CopyFrom<int>(sum);
            _layers[layer].Router.OtherLoads = _others[layer];
        }
    }

    /// <summary>Lets every layer balance its passes by themselves again.</summary>
    public void Leave()
    {
        foreach (MoeLayer layer in _layers)
        {
            layer.Router.OtherLoads = null;
        }
    }

    /// <summary>Leaves, and frees the memory.</summary>
    public void Dispose()
    {
        Leave();
        foreach (Tensor tensor in _others)
        {
            tensor.Dispose();
        }
    }
}
