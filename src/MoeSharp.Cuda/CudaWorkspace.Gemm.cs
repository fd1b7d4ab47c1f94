namespace MoeSharp.Cuda;

/// <content>Dense products.</content>
public static partial class CudaWorkspace
{
    /// <summary>Bytes for <c>Gemm</c>: a C for every part of a long sum, at most 2 MiB; 0 where the sum is not divided.</summary>
    /// <param name="m">Rows of C.</param>
    /// <param name="n">Columns of C.</param>
    /// <param name="k">Terms of a sum.</param>
    public static long Gemm(long m, long n, int k)
    {
        int parts = GemmParts.Of(m, n, k).Count;
        return parts == 1 ? 0 : checked(parts * m * n * sizeof(float));
    }
}
