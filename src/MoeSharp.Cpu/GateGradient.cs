using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>The gradient of one token's gate: combine weights, balance loss and z-loss, to the logits.</summary>
/// <remarks>
/// <para>The choice and the counts are constants. With G_c the gradient of the probability of one copy of column c, times the copies that
/// have it, softmax gives p_c (G_c - copies_c sum p G). Raw softmax weights and the balance loss share that one formula; the
/// z-loss adds 2 lse copies_c p_c / T.</para>
/// <para>Normalised softmax weights are a softmax over the chosen slots that take part, so their gradient touches those columns alone:
/// a zero null that takes no part gets exactly zero, and so does a token with one slot left, because (g - 1 g) is exactly zero.</para>
/// </remarks>
internal readonly unsafe struct GateGradient
{
    private readonly RouterLayout _layout;
    private readonly float* _probabilities;
    private readonly float* _scores;
    private readonly float* _slopes;
    private readonly float* _gradients;
    private readonly float* _values;
    private readonly int* _columns;

    /// <summary>Lays the work memory of one thread out.</summary>
    public GateGradient(RouterLayout layout, float* scratch)
    {
        _layout = layout;
        int columns = Padded(layout.Columns), slots = Padded(layout.Spec.TopK);
        _probabilities = scratch;
        _scores = _probabilities + columns;
        _slopes = _scores + columns;
        _gradients = _slopes + columns;
        _values = _gradients + columns;
        _columns = (int*)(_values + slots);
    }

    /// <summary>Floats of work memory.</summary>
    public static long ScratchLength(RouterLayout layout) => (4L * Padded(layout.Columns)) + (2L * Padded(layout.Spec.TopK));

    /// <summary>Computes a row of dLogits.</summary>
    /// <param name="logits">[C].</param>
    /// <param name="ids">[K] from forward.</param>
    /// <param name="dWeights">[K].</param>
    /// <param name="balance">[C]: gradient of the balance loss to the probabilities, copies together; the same for all tokens.</param>
    /// <param name="copies">[C]: slots per column.</param>
    /// <param name="zFactor">2 dZLoss / T.</param>
    /// <param name="dLogits">[C], written.</param>
    public void Run(float* logits, int* ids, float* dWeights, float* balance, float* copies, float zFactor, float* dLogits)
    {
        RouterSpec spec = _layout.Spec;
        int columns = _layout.Columns;
        float largest = VectorMath.Max(logits, columns);
        float sum = GateKernel.Exponentials(_layout, logits, largest, _probabilities);
        VectorMath.Scaled(1f / sum, _probabilities, _probabilities, columns);
        float zSlope = zFactor * (largest + MathF.Log(sum));
        for (int k = 0; k < spec.TopK; k++)
        {
            _columns[k] = Math.Max(0, _layout.ColumnOf(ids[k]));
        }

        new Span<float>(balance, columns).CopyTo(new Span<float>(_gradients, columns));
        if (spec.Score == ScoreFunction.Softmax)
        {
            if (spec.Renormalize == Renormalize.None)
            {
                AddRawWeights(ids, dWeights, _gradients);
            }

            float mean = VectorMath.Dot(_probabilities, _gradients, columns);
            for (int c = 0; c < columns; c++)
            {
                dLogits[c] = _probabilities[c] * (_gradients[c] + (copies[c] * (zSlope - mean)));
            }

            if (spec.Renormalize != Renormalize.None)
            {
                AddChosenSoftmax(logits, ids, dWeights, dLogits);
            }
        }
        else
        {
            if (spec.Score == ScoreFunction.Relu)
            {
                Relus(logits);
            }
            else
            {
                Sigmoids(logits);
                NormalizedScores(copies);
            }

            AddWeights(ids, dWeights);
            for (int c = 0; c < columns; c++)
            {
                dLogits[c] = (_gradients[c] * _slopes[c]) + (zSlope * copies[c] * _probabilities[c]);
            }
        }
    }

    private static int Padded(int count) => (count + VectorMath.Lanes - 1) & -VectorMath.Lanes;

    /// <summary>Scores s and slopes s (1 - s), the latter as a product of two sigmoids, exact where s is close to 1.</summary>
    private void Sigmoids(float* logits)
    {
        for (int c = 0; c < _layout.Columns; c += VectorMath.Lanes)
        {
            Vector256<float> logit = VectorMath.Load(logits + c, _layout.Columns - c);
            Vector256<float> score = VectorMath.Sigmoid(logit);
            score.Store(_scores + c);
            (score * VectorMath.Sigmoid(-logit)).Store(_slopes + c);
        }
    }

    /// <summary>Scores, and slopes 1 where they are positive. The balance loss takes them as they are.</summary>
    private void Relus(float* logits)
    {
        GateKernel.Relus(logits, _layout.Columns, _scores);
        for (int c = 0; c < _layout.Columns; c++)
        {
            _slopes[c] = _scores[c] > 0f ? 1f : 0f;
        }
    }

    /// <summary>Gradient of the balance loss to the scores, through s / sum of s.</summary>
    private void NormalizedScores(float* copies)
    {
        float total = GateKernel.SlotSum(_layout, _scores);
        float inverse = total == 0f ? 0f : 1f / total;
        float mean = VectorMath.Dot(_scores, _gradients, _layout.Columns) * inverse;
        for (int c = 0; c < _layout.Columns; c++)
        {
            _gradients[c] = (_gradients[c] - (copies[c] * mean)) * inverse;
        }
    }

    /// <summary>Adds the gradient of the weights to that of the scores.</summary>
    private void AddWeights(int* ids, float* dWeights)
    {
        RouterSpec spec = _layout.Spec;
        if (spec.Renormalize == Renormalize.None)
        {
            AddRawWeights(ids, dWeights, _gradients);
            return;
        }

        float divisor = GateKernel.ChosenScores(_layout, _scores, ids, _columns, _values);
        float average = WeightedGradient(ids, dWeights) / divisor;
        for (int k = 0; k < spec.TopK; k++)
        {
            if (Counts(ids[k]))
            {
                _gradients[_columns[k]] += (SlotGradient(ids[k], dWeights[k]) - average) / divisor;
            }
        }
    }

    private void AddRawWeights(int* ids, float* dWeights, float* gradients)
    {
        for (int k = 0; k < _layout.Spec.TopK; k++)
        {
            if (Counts(ids[k]) && !_layout.IsNull(ids[k], NullKind.Zero))
            {
                gradients[_columns[k]] += SlotGradient(ids[k], dWeights[k]);
            }
        }
    }

    private void AddChosenSoftmax(float* logits, int* ids, float* dWeights, float* dLogits)
    {
        float divisor = GateKernel.ChosenSoftmax(_layout, logits, ids, _columns, _values);
        for (int k = 0; k < _layout.Spec.TopK; k++)
        {
            _values[k] /= divisor;
        }

        float average = WeightedGradient(ids, dWeights);
        for (int k = 0; k < _layout.Spec.TopK; k++)
        {
            if (Counts(ids[k]))
            {
                dLogits[_columns[k]] += _values[k] * (SlotGradient(ids[k], dWeights[k]) - average);
            }
        }
    }

    /// <summary>Whether a slot exists and takes part in the sum (without renormalisation: is not a zero null).</summary>
    private bool Counts(int id) => _layout.ColumnOf(id) >= 0 && GateKernel.TakesPart(_layout, id);

    /// <summary>Gradient to the unscaled weight; a zero null's weight is the constant 0.</summary>
    private float SlotGradient(int id, float dWeight) => _layout.IsNull(id, NullKind.Zero) ? 0f : (float)_layout.Spec.Scale * dWeight;

    private float WeightedGradient(int* ids, float* dWeights)
    {
        float sum = 0;
        for (int k = 0; k < _layout.Spec.TopK; k++)
        {
            if (Counts(ids[k]))
            {
                sum += _values[k] * SlotGradient(ids[k], dWeights[k]);
            }
        }

        return sum;
    }
}
