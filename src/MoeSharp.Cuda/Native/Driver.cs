using System.Runtime.InteropServices;

namespace MoeSharp.Cuda.Native;

/// <summary>The entry points of the CUDA driver that the engine uses. Each is looked up when it is first called.</summary>
/// <remarks>Names, argument orders and enum values are the driver's own; the suffix _v2 is part of an entry point's binary interface.</remarks>
internal static unsafe partial class Driver
{
    private const string Library = CudaLibraries.DriverName;

    [LibraryImport(Library)]
    public static partial CudaError cuInit(uint flags);

    [LibraryImport(Library)]
    public static partial CudaError cuDriverGetVersion(out int version);

    [LibraryImport(Library)]
    public static partial CudaError cuGetErrorName(CudaError error, out byte* text);

    [LibraryImport(Library)]
    public static partial CudaError cuGetErrorString(CudaError error, out byte* text);

    [LibraryImport(Library)]
    public static partial CudaError cuDeviceGetCount(out int count);

    [LibraryImport(Library)]
    public static partial CudaError cuDeviceGet(out int device, int ordinal);

    [LibraryImport(Library)]
    public static partial CudaError cuDeviceGetName(byte* name, int length, int device);

    [LibraryImport(Library)]
    public static partial CudaError cuDeviceGetAttribute(out int value, DeviceAttribute attribute, int device);

    [LibraryImport(Library)]
    public static partial CudaError cuDeviceGetPCIBusId(byte* name, int length, int device);

    [LibraryImport(Library, EntryPoint = "cuDeviceTotalMem_v2")]
    public static partial CudaError cuDeviceTotalMem(out nuint bytes, int device);

    [LibraryImport(Library)]
    public static partial CudaError cuDevicePrimaryCtxRetain(out nint context, int device);

    [LibraryImport(Library, EntryPoint = "cuDevicePrimaryCtxRelease_v2")]
    public static partial CudaError cuDevicePrimaryCtxRelease(int device);

    [LibraryImport(Library, EntryPoint = "cuCtxPushCurrent_v2")]
    public static partial CudaError cuCtxPushCurrent(nint context);

    [LibraryImport(Library, EntryPoint = "cuCtxPopCurrent_v2")]
    public static partial CudaError cuCtxPopCurrent(out nint context);

    [LibraryImport(Library)]
    public static partial CudaError cuCtxGetCurrent(out nint context);

    [LibraryImport(Library)]
    public static partial CudaError cuCtxGetDevice(out int device);

    [LibraryImport(Library)]
    public static partial CudaError cuStreamCreate(out nint stream, uint flags);

    [LibraryImport(Library, EntryPoint = "cuStreamDestroy_v2")]
    public static partial CudaError cuStreamDestroy(nint stream);

    [LibraryImport(Library)]
    public static partial CudaError cuStreamSynchronize(nint stream);

    [LibraryImport(Library)]
    public static partial CudaError cuStreamWaitEvent(nint stream, nint waitFor, uint flags);

    [LibraryImport(Library)]
    public static partial CudaError cuStreamIsCapturing(nint stream, out int status);

    [LibraryImport(Library, EntryPoint = "cuStreamBeginCapture_v2")]
    public static partial CudaError cuStreamBeginCapture(nint stream, int mode);

    [LibraryImport(Library)]
    public static partial CudaError cuStreamEndCapture(nint stream, out nint graph);

    [LibraryImport(Library)]
    public static partial CudaError cuGraphInstantiateWithFlags(out nint executable, nint graph, ulong flags);

    [LibraryImport(Library)]
    public static partial CudaError cuGraphGetNodes(nint graph, nint* nodes, ref nuint count);

    [LibraryImport(Library)]
    public static partial CudaError cuGraphLaunch(nint executable, nint stream);

    [LibraryImport(Library)]
    public static partial CudaError cuGraphExecDestroy(nint executable);

    [LibraryImport(Library)]
    public static partial CudaError cuGraphDestroy(nint graph);

    [LibraryImport(Library)]
    public static partial CudaError cuEventCreate(out nint handle, uint flags);

    [LibraryImport(Library, EntryPoint = "cuEventDestroy_v2")]
    public static partial CudaError cuEventDestroy(nint handle);

    [LibraryImport(Library)]
    public static partial CudaError cuEventRecord(nint handle, nint stream);

    [LibraryImport(Library)]
    public static partial CudaError cuEventSynchronize(nint handle);

    [LibraryImport(Library)]
    public static partial CudaError cuEventElapsedTime(out float milliseconds, nint start, nint end);

    [LibraryImport(Library)]
    public static partial CudaError cuMemPoolCreate(out nint pool, in PoolProperties properties);

    [LibraryImport(Library)]
    public static partial CudaError cuMemPoolDestroy(nint pool);

    [LibraryImport(Library)]
    public static partial CudaError cuMemPoolSetAttribute(nint pool, PoolAttribute attribute, ref ulong value);

    [LibraryImport(Library)]
    public static partial CudaError cuMemPoolGetAttribute(nint pool, PoolAttribute attribute, out ulong value);

    [LibraryImport(Library)]
    public static partial CudaError cuMemPoolTrimTo(nint pool, nuint keep);

    [LibraryImport(Library)]
    public static partial CudaError cuMemAllocFromPoolAsync(out nint pointer, nuint bytes, nint pool, nint stream);

    [LibraryImport(Library)]
    public static partial CudaError cuMemFreeAsync(nint pointer, nint stream);

    [LibraryImport(Library, EntryPoint = "cuMemGetInfo_v2")]
    public static partial CudaError cuMemGetInfo(out nuint free, out nuint total);

    [LibraryImport(Library, EntryPoint = "cuMemcpyHtoDAsync_v2")]
    public static partial CudaError cuMemcpyHtoDAsync(nint to, void* from, nuint bytes, nint stream);

    [LibraryImport(Library, EntryPoint = "cuMemcpyDtoHAsync_v2")]
    public static partial CudaError cuMemcpyDtoHAsync(void* to, nint from, nuint bytes, nint stream);

    [LibraryImport(Library)]
    public static partial CudaError cuModuleLoadData(out nint module, void* image);

    [LibraryImport(Library)]
    public static partial CudaError cuModuleUnload(nint module);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    public static partial CudaError cuModuleGetFunction(out nint function, nint module, string name);

    [LibraryImport(Library)]
    public static partial CudaError cuFuncGetAttribute(out int value, FunctionAttribute attribute, nint function);

    /// <summary>Since CUDA 12.4.</summary>
    [LibraryImport(Library)]
    public static partial CudaError cuFuncGetParamInfo(nint function, nuint index, out nuint offset, out nuint size);

    [LibraryImport(Library)]
    public static partial CudaError cuFuncSetAttribute(nint function, FunctionAttribute attribute, int value);

    [LibraryImport(Library)]
    public static partial CudaError cuLaunchKernelEx(in LaunchConfiguration configuration, nint function, void** parameters, void** extra);
}
