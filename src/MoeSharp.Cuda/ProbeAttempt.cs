namespace MoeSharp.Cuda;

/// <summary>The native libraries that CUDA needs.</summary>
public enum NativeLibraryKind
{
    /// <summary>The CUDA driver, part of the graphics driver.</summary>
    Driver,

    /// <summary>NVRTC, which compiles kernels at run time; part of the CUDA toolkit.</summary>
    Nvrtc,
}

/// <summary>One attempt to load a library, and what came of it.</summary>
/// <param name="Library">Which library.</param>
/// <param name="Source">Why this place was tried: an environment variable or the system's loader.</param>
/// <param name="Path">File or bare library name.</param>
/// <param name="Found">Whether it loaded.</param>
/// <param name="Result">What happened, in words.</param>
public sealed record ProbeAttempt(NativeLibraryKind Library, string Source, string Path, bool Found, string Result);
