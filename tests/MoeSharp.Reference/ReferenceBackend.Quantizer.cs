using MoeSharp.Core;

namespace MoeSharp.Reference;

/// <content>Vector quantisation.</content>
public sealed partial class ReferenceBackend
{
    /// <inheritdoc/>
    protected override void QuantizeCore(Tensor x, Tensor codebook, QuantizerSpec spec, Tensor codes, Tensor distances, Tensor loss, Tensor y)
    {
        Matrix rows = Matrix(x), vectors = Matrix(codebook), result = Matrix(y);
        Span<int> code = Ints(codes);
        double sum = 0;
        for (int t = 0; t < code.Length; t++)
        {
            double length = Length(rows[t], spec), best = double.PositiveInfinity;
            code[t] = 0;
            for (int j = 0; j < codebook.Shape[0]; j++)
            {
                double distance = SquaredDistance(rows[t], length, vectors[j], Length(vectors[j], spec));
                if (distance < best)
                {
                    (best, code[t]) = (distance, j);
                }
            }

            Span<double> nearest = vectors[code[t]];
            double nearestLength = Length(nearest, spec), stretch = length * Inverse(nearestLength);
            Floats(distances)[t] = SquaredDistance(rows[t], length, nearest, nearestLength);
            sum += Floats(distances)[t];
            for (int i = 0; i < rows.Columns; i++)
            {
                result[t, i] = (spec.Carry * rows[t, i]) + (spec.Mix * ((stretch * nearest[i]) - rows[t, i]));
            }
        }

        Floats(loss)[0] = x.ElementCount == 0 ? 0 : (1 + spec.Commitment) * sum / x.ElementCount;
    }

    /// <inheritdoc/>
    protected override void QuantizeBackwardCore(
        Tensor x, Tensor codebook, Tensor codes, Tensor dLoss, Tensor dY, QuantizerSpec spec, Tensor dX, Tensor dCodebook)
    {
        Matrix rows = Matrix(x), vectors = Matrix(codebook), dOut = Matrix(dY), dRows = Matrix(dX), dVectors = Matrix(dCodebook);
        Span<int> code = Ints(codes);
        CheckIds(code, codebook);
        double slope = 2 * Floats(dLoss)[0] / Math.Max(1, x.ElementCount);
        for (int t = 0; t < code.Length; t++)
        {
            Span<double> row = rows[t], vector = vectors[code[t]];
            double rowInverse = Inverse(Length(row, spec)), inverse = Inverse(Length(vector, spec));

            // The squared distance of unit vectors is 2 - 2 cos, so half of its gradient is -d cos; without unit vectors it is the difference.
            bool cosine = spec.Distance == CodeDistance.Cosine;
            double cos = cosine ? Dot(row, vector) * rowInverse * inverse : 1;
            for (int i = 0; i < row.Length; i++)
            {
                double u = row[i] * rowInverse, w = vector[i] * inverse;
                dRows[t, i] = (spec.Carry * dOut[t, i]) + (slope * spec.Commitment * rowInverse * ((cos * u) - w));
                dVectors[code[t], i] += slope * inverse * ((cos * w) - u);
            }
        }
    }

    /// <inheritdoc/>
    protected override void AssignCodesCore(Tensor codes, Tensor map, Tensor ids, Tensor counts, Tensor chunkCounts)
    {
        Span<int> code = Ints(codes), expertOf = Ints(map), id = Ints(ids), count = Ints(counts), chunkCount = Ints(chunkCounts);
        CheckIds(code, map);
        count.Clear();
        chunkCount.Clear();
        for (int t = 0; t < code.Length; t++)
        {
            id[t] = expertOf[code[t]];
            if (id[t] >= 0 && id[t] < count.Length)
            {
                count[id[t]]++;
                chunkCount[(t / RoutingPlan.ChunkTokens * count.Length) + id[t]]++;
            }
        }
    }

    /// <inheritdoc/>
    protected override void CodeUsageCore(Tensor codes, double decay, Tensor usage)
    {
        Span<int> code = Ints(codes);
        for (int j = 0; code.Length > 0 && j < usage.ElementCount; j++)
        {
            Floats(usage)[j] = (decay * Floats(usage)[j]) + ((1 - decay) * code.Count(j) / code.Length);
        }
    }

    /// <inheritdoc/>
    protected override void ReviveCodesCore(Tensor anchors, Tensor usage, double decay, double reserve, Tensor master, Tensor codebook)
    {
        Matrix vectors = Matrix(master), samples = Matrix(anchors);
        int codes = (int)usage.ElementCount;
        for (int j = 0; j < codes; j++)
        {
            double share = Math.Exp((-10.0 * codes * Floats(usage)[j] / (1 - decay)) - reserve);
            for (int i = 0; i < vectors.Columns; i++)
            {
                vectors[j, i] = ((1 - share) * vectors[j, i]) + (share * samples[j, i]);
                Matrix(codebook)[j, i] = vectors[j, i];
            }
        }
    }

    /// <summary>What a vector is divided by before it is compared: its length, or 1.</summary>
    private static double Length(ReadOnlySpan<double> vector, QuantizerSpec spec) => spec.Distance == CodeDistance.Cosine ? Math.Sqrt(Dot(vector, vector)) : 1;

    /// <summary>1 / length, 0 for a vector of zeros.</summary>
    private static double Inverse(double length) => length == 0 ? 0 : 1 / length;

    private static double SquaredDistance(ReadOnlySpan<double> x, double xLength, ReadOnlySpan<double> v, double vLength)
    {
        double sum = 0, toUnit = Inverse(xLength), vToUnit = Inverse(vLength);
        for (int i = 0; i < x.Length; i++)
        {
            double difference = (x[i] * toUnit) - (v[i] * vToUnit);
            sum += difference * difference;
        }

        return sum;
    }
}
