namespace MoeSharp.Cuda.Native;

/// <summary>CUresult, as far as the engine tells values apart.</summary>
internal enum CudaError
{
    Success = 0,
    InvalidValue = 1,
    OutOfMemory = 2,
    StubLibrary = 34,
    DeviceUnavailable = 46,
    NoDevice = 100,
    InvalidImage = 200,
    NoBinaryForDevice = 209,
    UnsupportedPtxVersion = 222,
    NotFound = 500,
    NotReady = 600,
    IllegalAddress = 700,
    LaunchFailed = 719,
    SystemDriverMismatch = 803,
    CaptureUnsupported = 900,
    CaptureInvalidated = 901,
}
