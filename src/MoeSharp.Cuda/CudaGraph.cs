using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <summary>Ops that were captured once and are replayed with one call: same tensors, whatever they hold then.</summary>
/// <remarks>Sizes that depend on the routing stay on the device, so a replay follows a routing that changed. The tensors of the capture must live as long as the graph.</remarks>
public sealed class CudaGraph : IDisposable
{
    private readonly CudaContext _context;
    private readonly nint _stream;
    private readonly Action<string> _launched;
    private readonly string _name;
    private nint _executable;

    internal CudaGraph(CudaContext context, nint stream, nint graph, Action<string> launched)
    {
        (_context, _stream, _launched) = (context, stream, launched);
        try
        {
            unsafe
            {
                nuint count = 0;
                CudaException.Check(Driver.cuGraphGetNodes(graph, null, ref count), "cuGraphGetNodes");
                Nodes = (int)count;
            }

            _name = $"a graph of {Nodes} launches";
            CudaException.Check(Driver.cuGraphInstantiateWithFlags(out _executable, graph, 0), "cuGraphInstantiate");
        }
        finally
        {
            _ = Driver.cuGraphDestroy(graph);
        }
    }

    /// <summary>Number of launches in it.</summary>
    public int Nodes { get; }

    /// <summary>Puts the captured work on the backend's stream.</summary>
    public void Replay()
    {
        ObjectDisposedException.ThrowIf(_executable == 0, this);
        using CudaContext.Scope scope = _context.Enter();
        CudaException.Check(Driver.cuGraphLaunch(_executable, _stream), "cuGraphLaunch");
        _launched(_name);
    }

    /// <summary>Frees the graph.</summary>
    public void Dispose()
    {
        nint executable = Interlocked.Exchange(ref _executable, 0);
        if (executable != 0)
        {
            using CudaContext.Scope scope = _context.Enter();
            _ = Driver.cuGraphExecDestroy(executable);
        }
    }
}
