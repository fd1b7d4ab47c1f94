using MoeSharp.Core;
using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <content>Launches: every argument is checked here, so that a mistake is an exception on the host and not a fault on the device.</content>
public sealed partial class CudaBackend
{
    private const int RememberedLaunches = 8;
    private const int MaxThreads = 1024;
    private readonly Queue<string> _launched = new(RememberedLaunches);
    private readonly Dictionary<string, List<((string Name, int Value)[] Constants, KernelKey Key)>> _keys = [];

    /// <summary>A key of this backend's float type and architecture. Remembered: a launch makes no garbage.</summary>
    internal KernelKey Key(string file, params ReadOnlySpan<(string Name, int Value)> constants)
    {
        if (!_keys.TryGetValue(file, out List<((string Name, int Value)[] Constants, KernelKey Key)>? known))
        {
            _keys.Add(file, known = []);
        }

        foreach (((string Name, int Value)[] knownConstants, KernelKey knownKey) in known)
        {
            if (constants.SequenceEqual(knownConstants))
            {
                return knownKey;
            }
        }

        KernelKey key = KernelKey.Of(file, [.. constants, (KernelCatalog.FloatConstant, FloatType == DType.BFloat16 ? 1 : 0)]) with { Architecture = _architecture };
        known.Add((constants.ToArray(), key));
        return key;
    }

    /// <summary>Blocks for a kernel that strides over items: as many as are useful, at least 1.</summary>
    private long Blocks(long items) => Math.Clamp(items, 1, _maxBlocks);

    /// <summary>Whether rows of this width can be moved in vectors of 16 bytes: aligned pointers, and rows that are multiples of 16 bytes.</summary>
    private bool Vectorizable(long width, params ReadOnlySpan<Tensor> tensors)
    {
        bool aligned = width * FloatType.Size() % 16 == 0;
        foreach (Tensor tensor in tensors)
        {
            aligned &= tensor.Pointer % 16 == 0;
        }

        return aligned;
    }

    /// <summary>Puts a kernel on the stream.</summary>
    internal unsafe void Launch(KernelKey kernel, string entry, LaunchShape shape, params ReadOnlySpan<KernelArgument> arguments)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        ulong* values = stackalloc ulong[arguments.Length];
        void** parameters = stackalloc void*[arguments.Length];
        for (int i = 0; i < arguments.Length; i++)
        {
            if (arguments[i].Tensor is { } tensor && !ReferenceEquals(tensor.Backend, this))
            {
                throw new ArgumentException($"{entry} was given {tensor} of backend '{tensor.Backend.Name}'; a tensor belongs to the backend that made it.");
            }

            values[i] = arguments[i].Bits;
            parameters[i] = values + i;
        }

        KernelFunction function = Loaded(kernel, entry);
        function.Check(entry, arguments);
        shape.Check(entry, function.MaxThreads, Info.SharedBytesPerBlock);
        using CudaContext.Scope scope = _context.Enter();
        var configuration = new LaunchConfiguration
        {
            GridX = (uint)shape.BlocksX, GridY = (uint)shape.BlocksY, GridZ = (uint)shape.BlocksZ, BlockX = (uint)shape.Threads, BlockY = 1, BlockZ = 1,
            SharedBytes = (uint)shape.SharedBytes, Stream = Stream,
        };
        CheckDone(Driver.cuLaunchKernelEx(in configuration, function.Handle, parameters, null), entry);
        Remember(entry);
    }

    private void Remember(string launched)
    {
        if (_launched.Count == RememberedLaunches)
        {
            _launched.Dequeue();
        }

        _launched.Enqueue(launched);
    }

    private KernelFunction Loaded(KernelKey kernel, string entry)
    {
        if (!_modules.Contains(kernel) && _pool.IsCapturing)
        {
            throw new InvalidOperationException($"{entry} of {kernel} is needed for the first time while a graph is captured, when kernels cannot be loaded. Run the ops once before, or call Precompile.");
        }

        return _modules.Function(kernel, entry);
    }

    private void CheckDone(CudaError error, string? launching = null)
    {
        if (error != CudaError.Success)
        {
            string what = launching is null ? "Waiting for the GPU" : $"Launching {launching}";
            string suspects = _launched.Count == 0 ? string.Empty : $" (kernels launched last: {string.Join(", ", _launched)})";
            throw CudaException.Of(error, what + suspects);
        }
    }
}
