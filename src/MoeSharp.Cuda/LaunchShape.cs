namespace MoeSharp.Cuda;

/// <summary>Grid, block and dynamic shared memory of a launch.</summary>
/// <param name="BlocksX">Blocks along x.</param>
/// <param name="Threads">Threads per block, along x.</param>
/// <param name="SharedBytes">Dynamic shared memory in bytes.</param>
/// <param name="BlocksY">Blocks along y.</param>
/// <param name="BlocksZ">Blocks along z.</param>
internal readonly record struct LaunchShape(long BlocksX, int Threads, int SharedBytes = 0, int BlocksY = 1, int BlocksZ = 1)
{
    /// <summary>Checks the shape against what devices take.</summary>
    /// <exception cref="ArgumentException">A number is out of range; the message says which.</exception>
    public void Check(string entry, int maxThreads, int maxShared)
    {
        if (BlocksX is < 1 or > int.MaxValue || BlocksY is < 1 or > ushort.MaxValue || BlocksZ is < 1 or > ushort.MaxValue)
        {
            throw new ArgumentException($"{entry} would be launched with a grid of {BlocksX} x {BlocksY} x {BlocksZ} blocks; the limits are {int.MaxValue} x {ushort.MaxValue} x {ushort.MaxValue}, and at least 1 each.");
        }

        if (Threads < 1 || Threads > maxThreads)
        {
            throw new ArgumentException($"{entry} would be launched with {Threads} threads per block; 1 to {maxThreads} are possible.");
        }

        if (SharedBytes < 0 || SharedBytes > maxShared)
        {
            throw new ArgumentException($"{entry} needs {SharedBytes:N0} bytes of shared memory per block for these sizes; the device has {maxShared:N0}.");
        }
    }
}
