using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>A block of a transformer without attention, between a map into its width and a map to the classes.</summary>
internal sealed class ClusterModel : Module
{
    /// <summary>Width of the block.</summary>
    public const int Hidden = 32;

    private readonly Linear _embedding;
    private readonly RmsNorm _norm;
    private readonly RmsNorm _last;
    private readonly Linear _head;

    /// <summary>Makes a model.</summary>
    public ClusterModel(Backend backend, RouterSpec router, int expertWidth, ulong seed)
    {
        double std = 1 / Math.Sqrt(Hidden);
        var init = new Initializer(backend, seed) { StandardDeviation = std };
        _embedding = Child(new Linear(init, "embedding", ClusterTask.Width, Hidden, 1 / Math.Sqrt(ClusterTask.Width), bias: true));
        _norm = Child(new RmsNorm(init, "norm", Hidden, 1e-5));
        Moe = Child(new MoeLayer(init, "moe", new MoeOptions { Hidden = Hidden, ExpertWidth = expertWidth, Router = router }, 0.5 / Math.Sqrt(expertWidth)));
        _last = Child(new RmsNorm(init, "last_norm", Hidden, 1e-5));
        _head = Child(new Linear(init, "head", Hidden, ClusterTask.Classes, std, bias: true));
    }

    /// <summary>The experts.</summary>
    public MoeLayer Moe { get; }

    /// <summary>[T, 16] to class scores [T, 8].</summary>
    public (Variable Logits, MoeOutput Moe) Forward(Tape tape, Variable x, long? pass = null)
    {
        Variable embedded = _embedding.Forward(tape, x);
        MoeOutput moe = Moe.Forward(tape, _norm.Forward(tape, embedded), new RouterContext { Pass = pass });
        return (_head.Forward(tape, _last.Forward(tape, tape.Add(embedded, moe.Output))), moe);
    }

    /// <summary>Takes the values of another model for everything that both have.</summary>
    public void TakeFrom(ClusterModel other)
    {
        Dictionary<string, Tensor> theirs = other.Parameters.Select(parameter => (parameter.Name, parameter.Value)).Concat(other.Buffers).ToDictionary(pair => pair.Name, pair => pair.Item2);
        foreach ((string name, Tensor value) in Parameters.Select(parameter => (parameter.Name, parameter.Value)).Concat(Buffers))
        {
            value.Backend.Scale(theirs[name], 1, value);
        }
    }
}
