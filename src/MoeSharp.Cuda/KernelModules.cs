using System.Collections.Concurrent;
using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <summary>The kernels that are loaded into one context.</summary>
/// <remarks>Thread-safe. A key is compiled (or read) and loaded once, when it is first launched or precompiled.</remarks>
internal sealed class KernelModules(CudaContext context, KernelCache cache, string? folder) : IDisposable
{
    private readonly ConcurrentDictionary<KernelKey, Lazy<Module>> _modules = [];

    /// <summary>Keys that are loaded.</summary>
    public int Count => _modules.Count;

    /// <summary>The handle of a kernel.</summary>
    public nint Function(KernelKey key, string entry) =>
        _modules.GetOrAdd(key, static (k, self) => new Lazy<Module>(() => self.Load(k)), this).Value.Function(context, entry);

    /// <summary>Compiles what is missing, in parallel, and loads it.</summary>
    public void Precompile(IReadOnlyCollection<KernelKey> keys, IProgress<(int Done, int Total)>? progress)
    {
        int done = 0;
        Parallel.ForEach(keys, key =>
        {
            _ = _modules.GetOrAdd(key, static (k, self) => new Lazy<Module>(() => self.Load(k)), this).Value;
            progress?.Report((Interlocked.Increment(ref done), keys.Count));
        });
    }

    public void Dispose()
    {
        foreach (Lazy<Module> module in _modules.Values.Where(module => module.IsValueCreated))
        {
            using CudaContext.Scope scope = context.Enter();
            _ = Driver.cuModuleUnload(module.Value.Handle);
        }

        _modules.Clear();
    }

    private unsafe Module Load(KernelKey key)
    {
        if (!KernelCatalog.Contains(key))
        {
            throw new InvalidOperationException($"Kernel {key} is not in KernelCatalog; add it there, so that it is compiled and checked everywhere.");
        }

        byte[] image = (folder is null ? null : KernelFolder.Get(folder, key)) ?? cache.Get(key);
        using CudaContext.Scope scope = context.Enter();
        fixed (byte* p = image)
        {
            CudaException.Check(Driver.cuModuleLoadData(out nint handle, p), $"Loading kernel {key}");
            return new Module(handle);
        }
    }

    private sealed class Module(nint handle)
    {
        private readonly ConcurrentDictionary<string, nint> _functions = [];

        public nint Handle { get; } = handle;

        public nint Function(CudaContext context, string entry)
        {
            if (_functions.TryGetValue(entry, out nint function))
            {
                return function;
            }

            using CudaContext.Scope scope = context.Enter();
            CudaException.Check(Driver.cuModuleGetFunction(out function, Handle, entry), $"Finding kernel {entry}");

            // Above 48 KB dynamic shared memory has to be asked for; the launch checks its own need against the device.
            CudaException.Check(Driver.cuFuncSetAttribute(function, FunctionAttribute.MaxDynamicSharedBytes, context.Info.SharedBytesPerBlock), "cuFuncSetAttribute");
            return _functions.GetOrAdd(entry, function);
        }
    }
}
