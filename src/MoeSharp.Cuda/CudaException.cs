using System.Runtime.InteropServices;
using MoeSharp.Core;
using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <summary>The CUDA driver or NVRTC refused something, or a kernel failed; the message names the function, the error and what to do.</summary>
public sealed class CudaException : MoeSharpException
{
    internal CudaException(string message, int code)
        : base(message) => Code = code;

    /// <summary>The driver's or NVRTC's error code.</summary>
    public int Code { get; }

    /// <summary>Throws when a driver call failed.</summary>
    internal static void Check(CudaError error, string function, string? hint = null)
    {
        if (error != CudaError.Success)
        {
            throw Of(error, function, hint);
        }
    }

    /// <summary>The exception for a failed driver call.</summary>
    internal static unsafe CudaException Of(CudaError error, string function, string? hint = null)
    {
        string name = Driver.cuGetErrorName(error, out byte* text) == CudaError.Success && text is not null
            ? Marshal.PtrToStringUTF8((nint)text)!
            : "unknown error";
        string advice = hint ?? error switch
        {
            CudaError.IllegalAddress or CudaError.LaunchFailed => "A kernel touched memory it must not, and the context cannot be used any more. Run the program under compute-sanitizer to see which.",
            CudaError.NoBinaryForDevice or CudaError.InvalidImage => "A compiled kernel does not fit the device or the driver. Delete the kernel cache, or update the driver.",
            CudaError.UnsupportedPtxVersion => "NVRTC is newer than the driver, and the device is newer than NVRTC. Update the driver.",
            CudaError.NoDevice => "There is no NVIDIA GPU that this process may use; look at nvidia-smi and CUDA_VISIBLE_DEVICES.",
            CudaError.StubLibrary => $"The library is the toolkit's stub, for linking only. Remove the stubs folder from the loader's path, or name the real driver in {NativeProbe.DriverVariable}.",
            CudaError.SystemDriverMismatch => "The driver's library and its kernel module have different versions; after an update the machine has to be restarted.",
            CudaError.DeviceUnavailable => "Another process has the device for itself, or it is broken; look at nvidia-smi.",
            CudaError.CaptureUnsupported or CudaError.CaptureInvalidated => "Something was done while a graph was captured that a graph cannot hold: an allocation, a copy to or from the host, or a wait.",
            _ => "See the CUDA driver API reference for this error.",
        };
        return new CudaException($"{function} failed with {name} ({(int)error}). {advice}", (int)error);
    }
}
