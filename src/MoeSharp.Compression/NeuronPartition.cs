namespace MoeSharp.Compression;

/// <summary>How the neurons of a dense feed-forward layer are divided among experts.</summary>
public enum NeuronPartition
{
    /// <summary>Neurons whose gates look at similar directions together: balanced k-means of the gate rows (MoEfication, arXiv 2110.01786).</summary>
    Clustered,

    /// <summary>Runs of neighbours. The order of neurons means nothing in a trained layer, so this is the control of the other.</summary>
    Contiguous,
}
