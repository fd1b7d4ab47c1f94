using MoeSharp.Core;
using MoeSharp.Cuda;
using MoeSharp.Emulator;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>CUDA backends for the tests: on a real device where MOESHARP_TEST_DEVICE says <c>cuda</c>, on the emulator everywhere else.</summary>
/// <remarks>Each float type has a device, so a context, of its own: the tests of both run side by side.</remarks>
public sealed class CudaPool : IDisposable
{
    /// <summary>Collection of the tests that share the float32 backend.</summary>
    public const string Single = "cuda float32";

    /// <summary>Collection of the tests that share the bfloat16 backend.</summary>
    public const string Half = "cuda bfloat16";

    private readonly Lazy<Backend> _single = new(() => Make(DType.Float32));
    private readonly Lazy<Backend> _half = new(() => Make(DType.BFloat16));

    /// <summary>Whether a real device is tested.</summary>
    public static bool OnDevice => Environment.GetEnvironmentVariable("MOESHARP_TEST_DEVICE") == "cuda";

    /// <summary>Computes in float32.</summary>
    public Backend Float32 => Ready(_single);

    /// <summary>Computes in bfloat16.</summary>
    public Backend BFloat16 => Ready(_half);

    // Compiled kernels are kept between runs, in the repository; their names hold a hash of everything they depend on.
    private static readonly KernelCache s_cache = new(Path.Combine(EmulatorBuild.Root, ".artifacts", "emulator", "kernels"));

    /// <summary>One more backend, for tests that vary its options.</summary>
    public static CudaBackend Make(DType type, CudaOptions? options = null)
    {
        options = (options ?? new CudaOptions()) with { FloatType = type, Cache = s_cache };
        return OnDevice ? new CudaBackend(options) : new CudaBackend(options with { DeviceIndex = type == DType.Float32 ? 0 : 1 }, EmulatorBuild.Host);
    }

    public void Dispose()
    {
        foreach (Lazy<Backend> backend in (ReadOnlySpan<Lazy<Backend>>)[_single, _half])
        {
            if (backend.IsValueCreated)
            {
                backend.Value.Dispose();
            }
        }
    }

    /// <summary>Skips the test where there is neither a device nor a compiler for the emulator; in CI that is a failure.</summary>
    public static void Require()
    {
        if (!OnDevice && EmulatorBuild.Library is null)
        {
            Assert.SkipUnless(Environment.GetEnvironmentVariable("CI") == "true", EmulatorBuild.Reason);
            Assert.Fail(EmulatorBuild.Reason);
        }
    }

    private static Backend Ready(Lazy<Backend> backend)
    {
        Require();
        return backend.Value;
    }
}
