using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace MoeSharp.Cpu;

/// <summary>Backward attention over pairs of a query tile and a key tile.</summary>
/// <remarks>
/// <para>With P = exp(scale S - logsumexp) recomputed and D = rowsum(dO o O): dS = scale P o (dO V^T - D), dV = P^T dO, dK = dS^T Q,
/// dQ = dS K (Dao et al., arXiv 2205.14135).</para>
/// <para>The problem: dQ sums over key tiles, dK and dV over query tiles, and no thread may add to what another one writes. The choice: with
/// enough key heads to keep all threads busy, one thread owns a key head and its query heads and computes P once; else P is computed
/// twice, by owners of query tiles for dQ and by owners of key tiles for dK and dV. Either way every sum runs over the same tiles
/// in the same order, key tiles ascending for dQ, heads and then query tiles ascending for dK and dV: the bits are the same.</para>
/// </remarks>
internal unsafe struct AttentionGradient
{
    private const int Tile = AttentionShape.KeyTile;

    /// <summary>Sizes.</summary>
    public AttentionShape Shape;

    /// <summary>Sources; those that are a right side somewhere are padded.</summary>
    public HeadRows Queries, Keys, OutputGradients;

    /// <summary>Destinations.</summary>
    public HeadRows QueryGradients, KeyGradients, ValueGradients;

    /// <summary>Transposed tiles of keys and values.</summary>
    public float* TransposedKeys, TransposedValues;

    /// <summary>[B * QueryLength, H].</summary>
    public float* LogSumExp, RowSums;

    /// <summary>Work memory.</summary>
    public OpScratch Scratch;

    private readonly long ScratchLength => (2L * Tile * Tile) + (2L * Tile * Shape.PaddedWidth);

    /// <summary>dQ, dK and dV of key head <paramref name="index"/>; needs a head width in whole column blocks.</summary>
    public readonly void RunKeyHead(int index)
    {
        for (int keyTile = 0; keyTile < Shape.KeyTiles; keyTile++)
        {
            RunKeys(index / Shape.Spec.KeyValueHeads, index % Shape.Spec.KeyValueHeads, keyTile, queriesToo: true);
        }
    }

    /// <summary>dK and dV of key tile <paramref name="index"/>.</summary>
    public readonly void RunKeyTile(int index)
    {
        int head = index / Shape.KeyTiles;
        RunKeys(head / Shape.Spec.KeyValueHeads, head % Shape.Spec.KeyValueHeads, index % Shape.KeyTiles, queriesToo: false);
    }

    /// <summary>dQ of query tile <paramref name="index"/>.</summary>
    public readonly void RunQueryTile(int index)
    {
        int tile = index % Shape.QueryTiles, head = index / Shape.QueryTiles % Shape.Spec.Heads;
        int batch = index / Shape.QueryTiles / Shape.Spec.Heads, rows = Shape.QueriesIn(tile), width = Shape.PaddedWidth;
        float* probabilities = Scratch.Thread(ScratchLength), scores = probabilities + (Tile * Tile), sums = scores + (Tile * Tile);
        for (int keyTile = 0; keyTile < Shape.KeyTiles && Shape.Visible((tile * Tile) + rows - 1, keyTile) > 0; keyTile++)
        {
            Scores(batch, head, tile, keyTile, probabilities, scores);
            AddQueries(batch, head, tile, keyTile, scores, sums, width);
        }

        CopyOut(sums, rows, QueryGradients, batch, head, tile);
    }

    private readonly void RunKeys(int batch, int keyHead, int keyTile, bool queriesToo)
    {
        int width = Shape.PaddedWidth, keys = Shape.KeysIn(keyTile);
        float* probabilities = Scratch.Thread(ScratchLength), scores = probabilities + (Tile * Tile);
        float* keySums = scores + (Tile * Tile), valueSums = keySums + (Tile * width);
        new Span<float>(keySums, 2 * Tile * width).Clear();
        int firstTile = Shape.Spec.Causal ? Math.Max(0, (keyTile * Tile) - Shape.FirstPosition) / Tile : 0;
        for (int head = keyHead * Shape.Group; head < (keyHead + 1) * Shape.Group; head++)
        {
            for (int tile = firstTile; tile < Shape.QueryTiles; tile++)
            {
                Scores(batch, head, tile, keyTile, probabilities, scores);
                AddKeys(batch, head, tile, keyTile, probabilities, OutputGradients, valueSums);
                AddKeys(batch, head, tile, keyTile, scores, Queries, keySums);
                if (queriesToo)
                {
                    float* sums = QueryGradients.At(batch, head, tile * Tile);
                    AddQueries(batch, head, tile, keyTile, scores, sums, QueryGradients.RowStride);
                }
            }
        }

        CopyOut(keySums, keys, KeyGradients, batch, keyHead, keyTile);
        CopyOut(valueSums, keys, ValueGradients, batch, keyHead, keyTile);
    }

    /// <summary>P and dS of a pair of tiles, in rows of <see cref="Tile"/>; columns behind a row block's last seen key stay unwritten.</summary>
    private readonly void Scores(int batch, int head, int tile, int keyTile, float* probabilities, float* scores)
    {
        int rows = Shape.QueriesIn(tile), depth = Shape.Spec.HeadDim, keyHead = head / Shape.Group;
        float* keys = AttentionPacking.TransposedTile(Shape, TransposedKeys, batch, keyHead, keyTile);
        float* values = AttentionPacking.TransposedTile(Shape, TransposedValues, batch, keyHead, keyTile);
        for (int row = 0; row < rows; row += TileGemm.RowBlock)
        {
            int query = (tile * Tile) + row, block = Math.Min(TileGemm.RowBlock, rows - row);
            int seen = Shape.Visible(query + block - 1, keyTile), columns = AttentionShape.RoundUp(seen, TileGemm.ColumnBlock);
            if (seen <= 0)
            {
                continue;
            }

            float* p = probabilities + (row * Tile), ds = scores + (row * Tile);
            TileGemm.Run(
                Queries.At(batch, head, query), Queries.RowStride, 1, keys, Tile, p, Tile, block, columns, depth, add: false);
            TileGemm.Run(
                OutputGradients.At(batch, head, query), OutputGradients.RowStride, 1, values, Tile, ds, Tile, block, columns, depth, add: false);
            for (int i = 0; i < block; i++)
            {
                nint token = ((nint)batch * Shape.Spec.QueryLength) + query + i, index = (token * Shape.Spec.Heads) + head;
                int visible = Math.Max(0, Shape.Visible(query + i, keyTile));
                Softmax(p + (i * Tile), ds + (i * Tile), visible, columns, (float)Shape.Spec.Scale, LogSumExp[index], RowSums[index]);
            }
        }
    }

    /// <summary>Scores to P and output-gradient products to dS, zeros behind the last visible key.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Softmax(float* p, float* ds, int visible, int columns, float scale, float logSumExp, float rowSum)
    {
        Vector256<float> factor = Vector256.Create(scale), shift = Vector256.Create(logSumExp), mean = Vector256.Create(rowSum);
        Vector256<int> lane = Vector256.Create(0, 1, 2, 3, 4, 5, 6, 7), limit = Vector256.Create(visible);
        int i = 0;
        for (; i < visible; i += VectorMath.Lanes)
        {
            Vector256<float> seen = Vector256.LessThan(lane + Vector256.Create(i), limit).AsSingle();
            Vector256<float> probability = VectorMath.Exp((Vector256.Load(p + i) * factor) - shift) & seen;
            (probability * (Vector256.Load(ds + i) - mean) * factor & seen).Store(ds + i);
            probability.Store(p + i);
        }

        new Span<float>(p + i, columns - i).Clear();
        new Span<float>(ds + i, columns - i).Clear();
    }

    /// <summary>sums[query] += dS K over a key tile; the first key tile starts them.</summary>
    private readonly void AddQueries(int batch, int head, int tile, int keyTile, float* scores, float* sums, nint stride)
    {
        int rows = Shape.QueriesIn(tile);
        float* keys = Keys.At(batch, head / Shape.Group, keyTile * Tile);
        for (int row = 0; row < rows; row += TileGemm.RowBlock)
        {
            int block = Math.Min(TileGemm.RowBlock, rows - row), seen = Shape.Visible((tile * Tile) + row + block - 1, keyTile);
            if (seen > 0)
            {
                TileGemm.Run(
                    scores + (row * Tile), Tile, 1, keys, Keys.RowStride, sums + (row * stride), stride, block, Shape.PaddedWidth, seen, keyTile > 0);
            }
        }
    }

    /// <summary>sums[key] += (P or dS)^T (dO or Q) over a query tile, from the first query that sees a block of keys.</summary>
    private readonly void AddKeys(int batch, int head, int tile, int keyTile, float* factors, HeadRows rows, float* sums)
    {
        int keys = Shape.KeysIn(keyTile), queries = Shape.QueriesIn(tile), width = Shape.PaddedWidth;
        for (int key = 0; key < keys; key += TileGemm.RowBlock)
        {
            int first = Shape.Spec.Causal ? Math.Max(0, (keyTile * Tile) + key - Shape.FirstPosition - (tile * Tile)) : 0;
            if (first < queries)
            {
                TileGemm.Run(
                    factors + (first * Tile) + key, 1, Tile, rows.At(batch, head, (tile * Tile) + first), rows.RowStride,
                    sums + (key * width), width, Math.Min(TileGemm.RowBlock, keys - key), width, queries - first, add: true);
            }
        }
    }

    private readonly void CopyOut(float* sums, int rows, HeadRows destination, int batch, int head, int tile)
    {
        for (int row = 0; row < rows; row++)
        {
            new Span<float>(sums + (row * Shape.PaddedWidth), Shape.Spec.HeadDim)
                .CopyTo(new Span<float>(destination.At(batch, head, (tile * Tile) + row), Shape.Spec.HeadDim));
        }
    }
}
