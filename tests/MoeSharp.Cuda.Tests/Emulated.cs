using System.Runtime.InteropServices;
using MoeSharp.Core;
using MoeSharp.Cuda;
using MoeSharp.Emulator;
using Xunit;

namespace MoeSharp.Cuda.Tests;

/// <summary>Backends on the emulator, and what an application would get from the driver itself: contexts and streams of its own.</summary>
internal static unsafe class Emulated
{
    /// <summary>Compiled kernels are kept between runs; their names hold a hash of everything they depend on.</summary>
    private static readonly string s_kernels = Path.Combine(EmulatorBuild.Root, ".artifacts", "emulator", "kernels");

    /// <summary>Where driver and NVRTC are the emulator. Skips the test where it cannot be built; in CI that is a failure.</summary>
    public static ProbeHost Host
    {
        get
        {
            if (EmulatorBuild.Library is null)
            {
                Assert.SkipUnless(Environment.GetEnvironmentVariable("CI") == "true", EmulatorBuild.Reason);
                Assert.Fail(EmulatorBuild.Reason);
            }

            return EmulatorBuild.Host;
        }
    }

    /// <summary>A machine with the emulated driver, but no NVRTC.</summary>
    public static ProbeHost WithoutNvrtc
    {
        get
        {
            ProbeHost host = Host;
            return host with { Environment = name => name == NativeProbe.NvrtcVariable ? Path.Combine(s_kernels, "none.so") : host.Environment(name) };
        }
    }

    /// <summary>A backend; the caller disposes it.</summary>
    public static CudaBackend Backend(CudaOptions? options = null, ProbeHost? host = null) =>
        new((options ?? new CudaOptions()) with { Cache = options?.Cache ?? new KernelCache(s_kernels) }, host ?? Host);

    /// <summary>A context of its own, as an application makes one; it is not current afterwards.</summary>
    public static nint NewContext()
    {
        _ = Host;
        nint context;
        Check(((delegate* unmanaged<nint*, uint, int, int>)Export("cuCtxCreate_v2"))(&context, 0, 0));
        nint popped;
        Check(((delegate* unmanaged<nint*, int>)Export("cuCtxPopCurrent_v2"))(&popped));
        return context;
    }

    /// <summary>Ends a context, whatever happened in it.</summary>
    public static void Destroy(nint context) => Check(((delegate* unmanaged<nint, int>)Export("cuCtxDestroy_v2"))(context));

    /// <summary>The calling thread's current context.</summary>
    public static nint Current
    {
        get
        {
            nint context;
            Check(((delegate* unmanaged<nint*, int>)Export("cuCtxGetCurrent"))(&context));
            return context;
        }
    }

    private static nint Export(string name) => NativeLibrary.GetExport(NativeLibrary.Load(EmulatorBuild.Library!), name);

    private static void Check(int result) => Assert.Equal(0, result);
}
