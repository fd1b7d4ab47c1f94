using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Cpu;

/// <summary>Forward attention of one head and one tile of queries, with a running softmax over tiles of keys.</summary>
/// <remarks>
/// <para>The problem: scores are T x T, memory is not. Eight queries at a time meet a tile of 64 keys: scores stay in 2 KiB, are turned into
/// exponentials below the running maximum, and are multiplied into the values at once (Dao et al., arXiv 2205.14135; Milakov and
/// Gimelshein, arXiv 1805.02867). When the maximum rises, sum and output are scaled.</para>
/// <para>Every sum of a query runs over keys in tiles that start at key 0, masked keys add exact zeros: its result does not depend on
/// its place in the tile or on how many queries the call has, so decoding with a cache gives the bits of a full pass.</para>
/// </remarks>
internal unsafe struct AttentionTile
{
    private const int KeyTile = AttentionShape.KeyTile;

    /// <summary>Sizes.</summary>
    public AttentionShape Shape;

    /// <summary>Queries, padded values, output.</summary>
    public HeadRows Queries, Values, Output;

    /// <summary>Transposed key tiles.</summary>
    public float* Keys;

    /// <summary>[B * QueryLength, H].</summary>
    public float* LogSumExp;

    /// <summary>Work memory.</summary>
    public OpScratch Scratch;

    /// <summary>Runs query tile number <paramref name="index"/>, tiles of a head and heads of a sequence together.</summary>
    public readonly void Run(int index)
    {
        int tile = index % Shape.QueryTiles, head = index / Shape.QueryTiles % Shape.Spec.Heads;
        int batch = index / Shape.QueryTiles / Shape.Spec.Heads;
        int first = tile * AttentionShape.QueryTile, rows = Shape.QueriesIn(tile), width = Shape.PaddedWidth;
        float* scores = Scratch.Thread((TileGemm.RowBlock * KeyTile) + (AttentionShape.QueryTile * (width + 2L)));
        float* output = scores + (TileGemm.RowBlock * KeyTile);
        float* largest = output + (AttentionShape.QueryTile * width), sum = largest + AttentionShape.QueryTile;
        new Span<float>(output, rows * width).Clear();
        new Span<float>(largest, rows).Fill(float.NegativeInfinity);
        new Span<float>(sum, rows).Clear();
        for (int keyTile = 0; keyTile < Shape.KeyTiles && Shape.Visible(first + rows - 1, keyTile) > 0; keyTile++)
        {
            for (int row = 0; row < rows; row += TileGemm.RowBlock)
            {
                int block = Math.Min(TileGemm.RowBlock, rows - row);
                Accumulate(batch, head, first + row, block, keyTile, scores, output + (row * width), largest + row, sum + row);
            }
        }

        for (int row = 0; row < rows; row++)
        {
            VectorMath.Scaled(1f / sum[row], output + (row * width), Output.At(batch, head, first + row), Shape.Spec.HeadDim);
            nint token = ((nint)batch * Shape.Spec.QueryLength) + first + row;
            LogSumExp[(token * Shape.Spec.Heads) + head] = largest[row] + MathF.Log(sum[row]);
        }
    }

    private readonly void Accumulate(
        int batch, int head, int query, int rows, int keyTile, float* scores, float* output, float* largest, float* sum)
    {
        int width = Shape.PaddedWidth, keyHead = head / Shape.Group, seen = Shape.Visible(query + rows - 1, keyTile);
        if (seen <= 0)
        {
            return;
        }

        TileGemm.Run(
            Queries.At(batch, head, query), Queries.RowStride, 1,
            AttentionPacking.TransposedTile(Shape, Keys, batch, keyHead, keyTile), KeyTile,
            scores, KeyTile, rows, AttentionShape.RoundUp(seen, TileGemm.ColumnBlock), Shape.Spec.HeadDim, add: false);
        for (int row = 0; row < rows; row++)
        {
            float* line = scores + (row * KeyTile);
            int visible = Math.Max(0, Shape.Visible(query + row, keyTile));
            float before = largest[row];
            float factor = visible == 0 ? 1f : Exponentials(line, visible, (float)Shape.Spec.Scale, ref largest[row], ref sum[row]);
            if (factor != 1f && before != float.NegativeInfinity)
            {
                VectorMath.Scaled(factor, output + (row * width), output + (row * width), width);
            }

            int written = AttentionShape.RoundUp(visible, VectorMath.Lanes);
            new Span<float>(line + written, Math.Max(0, seen - written)).Clear();
        }

        TileGemm.Run(
            scores, KeyTile, 1, Values.At(batch, keyHead, keyTile * KeyTile), Values.RowStride, output, width, rows, width, seen, add: true);
    }

    /// <summary>Scores to exponentials below the new maximum; updates maximum and sum; returns the factor on what came before.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static float Exponentials(float* scores, int visible, float scale, ref float largest, ref float sum)
    {
        Vector256<float> factor = Vector256.Create(scale), high = Vector256.Create(float.NegativeInfinity);
        Vector256<int> lane = Vector256.Create(0, 1, 2, 3, 4, 5, 6, 7), limit = Vector256.Create(visible);
        for (int i = 0; i < visible; i += VectorMath.Lanes)
        {
            Vector256<float> score = Vector256.Load(scores + i) * factor;
            Vector256<float> seen = Vector256.LessThan(lane + Vector256.Create(i), limit).AsSingle();
            score = Vector256.ConditionalSelect(seen, score, Vector256.Create(float.NegativeInfinity));
            score.Store(scores + i);
            high = Vector256.MaxNative(high, score);
        }

        Vector128<float> four = Vector128.MaxNative(high.GetLower(), high.GetUpper());
        Vector128<float> two = Vector128.MaxNative(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        float before = largest;
        largest = MathF.Max(before, MathF.Max(two.ToScalar(), two.GetElement(1)));
        Vector256<float> shift = Vector256.Create(largest), total = default;
        for (int i = 0; i < visible; i += VectorMath.Lanes)
        {
            Vector256<float> value = VectorMath.Exp(Vector256.Load(scores + i) - shift);
            value.Store(scores + i);
            total += value;
        }

        float correction = before == largest ? 1f : VectorMath.Exp(before - largest);
        sum = (sum * correction) + VectorMath.SumLanes(total);
        return correction;
    }
}
