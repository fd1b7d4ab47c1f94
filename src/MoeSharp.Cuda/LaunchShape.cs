namespace MoeSharp.Cuda;

/// <summary>Grid, block and dynamic shared memory of a launch.</summary>
/// <param name="BlocksX">Blocks along x.</param>
/// <param name="Threads">Threads per block, along x.</param>
/// <param name="SharedBytes">Dynamic shared memory in bytes.</param>
/// <param name="BlocksY">Blocks along y.</param>
/// <param name="BlocksZ">Blocks along z.</param>
internal readonly record struct LaunchShape(long BlocksX, int Threads, int SharedBytes = 0, int BlocksY = 1, int BlocksZ = 1);
