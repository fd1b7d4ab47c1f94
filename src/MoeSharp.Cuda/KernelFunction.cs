using MoeSharp.Cuda.Native;

namespace MoeSharp.Cuda;

/// <summary>A kernel that can be launched, and what its arguments must be.</summary>
/// <remarks>
/// The problem: a launch takes untyped pointers, so an argument too few, or an int where the kernel reads a long, reads whatever lies
/// behind. The choice: drivers since CUDA 12.4 tell the sizes of a kernel's parameters; with those every launch is checked, with older ones none.
/// </remarks>
/// <param name="Handle">CUfunction.</param>
/// <param name="MaxThreads">Most threads of a block that its registers allow.</param>
/// <param name="ParameterBytes">Size of each parameter; null where the driver does not tell.</param>
internal sealed record KernelFunction(nint Handle, int MaxThreads, int[]? ParameterBytes)
{
    /// <summary>Prepares a function: its attributes are read, and it may use all shared memory of a block.</summary>
    public static KernelFunction Of(nint handle, int sharedBytes)
    {
        CudaException.Check(Driver.cuFuncGetAttribute(out int threads, FunctionAttribute.MaxThreads, handle), "cuFuncGetAttribute");

        // Above 48 KB dynamic shared memory has to be asked for; the launch checks its own need against the device.
        CudaException.Check(Driver.cuFuncSetAttribute(handle, FunctionAttribute.MaxDynamicSharedBytes, sharedBytes), "cuFuncSetAttribute");
        return new KernelFunction(handle, threads, Parameters(handle));
    }

    /// <summary>Checks arguments against the kernel's parameters.</summary>
    /// <exception cref="ArgumentException">Number or size differ; the message says where.</exception>
    public void Check(string entry, ReadOnlySpan<KernelArgument> arguments)
    {
        if (ParameterBytes is null)
        {
            return;
        }

        if (arguments.Length != ParameterBytes.Length)
        {
            throw new ArgumentException($"{entry} takes {ParameterBytes.Length} arguments and was given {arguments.Length}.");
        }

        for (int i = 0; i < arguments.Length; i++)
        {
            if (arguments[i].Bytes != ParameterBytes[i])
            {
                throw new ArgumentException($"Argument {i} of {entry} has {ParameterBytes[i]} bytes and was given one of {arguments[i].Bytes}: int and float have 4, long and pointers 8.");
            }
        }
    }

    private static int[]? Parameters(nint handle)
    {
        try
        {
            var sizes = new List<int>();
            while (Driver.cuFuncGetParamInfo(handle, (nuint)sizes.Count, out _, out nuint size) == CudaError.Success)
            {
                sizes.Add((int)size);
            }

            return [.. sizes];
        }
        catch (EntryPointNotFoundException)
        {
            return null;
        }
    }
}
