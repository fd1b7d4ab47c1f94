using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>Sizes of an attention call in tiles, and which keys a query sees.</summary>
internal readonly struct AttentionShape(AttentionSpec spec)
{
    /// <summary>Queries per tile.</summary>
    public const int QueryTile = 64;

    /// <summary>Keys per tile; tiles start at key 0, so a query's sums do not depend on how many queries come with it.</summary>
    public const int KeyTile = 64;

    /// <summary>The call.</summary>
    public AttentionSpec Spec => spec;

    /// <summary>Head width in whole column blocks of <see cref="TileGemm"/>.</summary>
    public int PaddedWidth => RoundUp(spec.HeadDim, TileGemm.ColumnBlock);

    /// <summary>Query tiles per head.</summary>
    public int QueryTiles => (spec.QueryLength + QueryTile - 1) / QueryTile;

    /// <summary>Key tiles per head.</summary>
    public int KeyTiles => (spec.KeyLength + KeyTile - 1) / KeyTile;

    /// <summary>Query heads per key head.</summary>
    public int Group => spec.Heads / spec.KeyValueHeads;

    /// <summary>Position of query 0.</summary>
    public int FirstPosition => spec.KeyLength - spec.QueryLength;

    /// <summary>The next multiple.</summary>
    public static int RoundUp(int count, int multiple) => (count + multiple - 1) / multiple * multiple;

    /// <summary>Queries in a tile.</summary>
    public int QueriesIn(int tile) => Math.Min(QueryTile, spec.QueryLength - (tile * QueryTile));

    /// <summary>Keys in a tile.</summary>
    public int KeysIn(int tile) => Math.Min(KeyTile, spec.KeyLength - (tile * KeyTile));

    /// <summary>How many keys of a tile a query sees; at most 0 when it sees none.</summary>
    public int Visible(int query, int keyTile) =>
        spec.Causal ? Math.Min(KeysIn(keyTile), FirstPosition + query + 1 - (keyTile * KeyTile)) : KeysIn(keyTile);

    /// <summary>Where the rows of a token-major tensor lie.</summary>
    public unsafe HeadRows Rows(float* tensor, int heads, int length) =>
        new(tensor, (nint)length * heads * spec.HeadDim, spec.HeadDim, (nint)heads * spec.HeadDim);
}
