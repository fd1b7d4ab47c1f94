using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>y = W x + MoE(x): a linear path that every token takes, and experts for what it cannot do.</summary>
internal sealed class MixedStreamModel : Module
{
    private readonly Linear _linear;

    /// <summary>Makes a model of the stream's width.</summary>
    public MixedStreamModel(Backend backend, RouterSpec router, int expertWidth, ulong seed)
    {
        double std = 1 / Math.Sqrt(MixedStream.Width);
        var init = new Initializer(backend, seed) { StandardDeviation = std };
        _linear = Child(new Linear(init, "linear", MixedStream.Width, MixedStream.Width, std));
        var options = new MoeOptions { Hidden = MixedStream.Width, ExpertWidth = expertWidth, Router = router };
        Moe = Child(new MoeLayer(init, "moe", options, outputStd: 0.5 / Math.Sqrt(expertWidth)));
    }

    /// <summary>The experts.</summary>
    public MoeLayer Moe { get; }

    /// <summary>[T, 32] to the same shape.</summary>
    public (Variable Output, MoeOutput Moe) Forward(Tape tape, Variable x)
    {
        MoeOutput moe = Moe.Forward(tape, x);
        return (tape.Add(_linear.Forward(tape, x), moe.Output), moe);
    }
}
