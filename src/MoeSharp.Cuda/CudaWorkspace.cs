namespace MoeSharp.Cuda;

/// <summary>Workspace bytes of each op that needs any, to reserve beforehand.</summary>
public static partial class CudaWorkspace
{
}
