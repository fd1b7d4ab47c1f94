using System.Collections.Concurrent;
using MoeSharp.Core;
using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <summary>The kernels that are loaded into one context.</summary>
/// <remarks>Thread-safe. A key is compiled (or read) and loaded once, when it is first launched or precompiled.</remarks>
internal sealed class KernelModules(CudaContext context, KernelCache cache, string? folder, bool canCompile) : IDisposable
{
    private readonly ConcurrentDictionary<KernelKey, Lazy<Module>> _modules = [];

    /// <summary>Keys that are loaded.</summary>
    public int Count => _modules.Count;

    /// <summary>Whether a key is loaded.</summary>
    public bool Contains(KernelKey key) => _modules.TryGetValue(key, out Lazy<Module>? module) && module.IsValueCreated;

    /// <summary>A kernel, loaded if it is not yet.</summary>
    public KernelFunction Function(KernelKey key, string entry) =>
        _modules.GetOrAdd(key, static (k, self) => new Lazy<Module>(() => self.Load(k)), this).Value.Function(context, entry);

    /// <summary>Compiles what is missing, in parallel, and loads it.</summary>
    public void Precompile(IReadOnlyCollection<KernelKey> keys, IProgress<(int Done, int Total)>? progress) =>
        KernelFolder.ForEach(keys, key => _ = _modules.GetOrAdd(key, static (k, self) => new Lazy<Module>(() => self.Load(k)), this).Value, progress);

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

        byte[] image = Image(key);
        using CudaContext.Scope scope = context.Enter();
        fixed (byte* p = image)
        {
            CudaException.Check(Driver.cuModuleLoadData(out nint handle, p), $"Loading kernel {key}");
            return new Module(handle);
        }
    }

    private byte[] Image(KernelKey key)
    {
        byte[]? shipped = folder is null ? null : KernelFolder.Get(folder, key);
        if (shipped is null && !canCompile)
        {
            throw new BackendUnavailableException(
                $"Kernel {key} is not in {folder}, or was made from another version of its text, and there is no NVRTC to compile it. Make the folder again with this version: moe kernels build --arch {key.Architecture} --out FOLDER.");
        }

        return shipped ?? cache.Get(key);
    }

    private sealed class Module(nint handle)
    {
        private readonly ConcurrentDictionary<string, KernelFunction> _functions = [];

        public nint Handle { get; } = handle;

        public KernelFunction Function(CudaContext context, string entry)
        {
            if (_functions.TryGetValue(entry, out KernelFunction? known))
            {
                return known;
            }

            using CudaContext.Scope scope = context.Enter();
            CudaException.Check(Driver.cuModuleGetFunction(out nint function, Handle, entry), $"Finding kernel {entry}");
            return _functions.GetOrAdd(entry, KernelFunction.Of(function, context.Info.SharedBytesPerBlock));
        }
    }
}
