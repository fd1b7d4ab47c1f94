using MoeSharp.Core;
using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <content>Launches: every argument is checked here, so that a mistake is an exception on the host and not a fault on the device.</content>
public sealed partial class CudaBackend
{
    private const int RememberedLaunches = 8;
    private const int MaxThreads = 1024;
    private readonly Queue<string> _launched = new(RememberedLaunches);

    /// <summary>A key of this backend's float type and architecture.</summary>
    private KernelKey Key(string file, params ReadOnlySpan<(string Name, int Value)> constants) =>
        KernelKey.Of(file, [.. constants, (KernelCatalog.FloatConstant, FloatType == DType.BFloat16 ? 1 : 0)]) with { Architecture = _architecture };

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
    private unsafe void Launch(KernelKey kernel, string entry, LaunchShape shape, params ReadOnlySpan<KernelArgument> arguments)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        shape.Check(entry, MaxThreads, Info.SharedBytesPerBlock);
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

        nint function = _modules.Function(kernel, entry);
        using CudaContext.Scope scope = _context.Enter();
        var configuration = new LaunchConfiguration
        {
            GridX = (uint)shape.BlocksX, GridY = (uint)shape.BlocksY, GridZ = (uint)shape.BlocksZ, BlockX = (uint)shape.Threads, BlockY = 1, BlockZ = 1,
            SharedBytes = (uint)shape.SharedBytes, Stream = Stream,
        };
        CheckDone(Driver.cuLaunchKernelEx(in configuration, function, parameters, null), entry);
        if (_launched.Count == RememberedLaunches)
        {
            _launched.Dequeue();
        }

        _launched.Enqueue(entry);
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
