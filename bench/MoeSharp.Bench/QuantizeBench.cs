using BenchmarkDotNet.Attributes;
using MoeSharp.Core;
using MoeSharp.Cpu;

namespace MoeSharp.Bench;

/// <summary>Rows to their nearest codes, mixed with them, and back; beside it the matrix product that a form with less exact distances would start from.</summary>
public class QuantizeBench
{
    private readonly QuantizerSpec _spec = new();
    private Tensor _x = null!, _codebook = null!, _codes = null!, _distances = null!, _loss = null!, _y = null!, _dX = null!, _dCodebook = null!, _products = null!;

    private CpuBackend Backend { get; set; } = null!;

    [Params(4096)]
    public int Tokens { get; set; }

    [Params(256)]
    public int Width { get; set; }

    [Params(16, 64, 256)]
    public int Codes { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        Backend = new CpuBackend();
        (_x, _codebook) = (Normals(1, Tokens, Width), Normals(2, Codes, Width));
        (_codes, _distances, _loss) = (Backend.Empty(new Shape(Tokens), DType.Int32), Backend.Empty(Tokens), Backend.Empty(1));
        (_y, _dX, _dCodebook, _products) = (Backend.Empty(Tokens, Width), Backend.Empty(Tokens, Width), Backend.Empty(Codes, Width), Backend.Empty(Tokens, Codes));
        Backend.Fill(_dCodebook, 0);
        Forward();
    }

    [Benchmark]
    public void Forward() => Backend.Quantize(_x, _codebook, _spec, _codes, _distances, _loss, _y);

    [Benchmark]
    public void Backward() => Backend.QuantizeBackward(_x, _codebook, _codes, _loss, _y, _spec, _dX, _dCodebook);

    [Benchmark(Baseline = true)]
    public void ProductAlone() => Backend.Gemm(_x, _codebook, transposeA: false, transposeB: true, accumulate: false, _products);

    [GlobalCleanup]
    public void Cleanup()
    {
        Array.ForEach((Tensor[])[_x, _codebook, _codes, _distances, _loss, _y, _dX, _dCodebook, _products], tensor => tensor.Dispose());
        Backend.Dispose();
    }

    private Tensor Normals(ulong stream, params ReadOnlySpan<long> shape)
    {
        var random = new CounterRandom(1, stream);
        Tensor tensor = Backend.Empty(shape);
        tensor.FromDoubles([.. Enumerable.Range(0, (int)tensor.ElementCount).Select(i => random.Normal((ulong)i))]);
        return tensor;
    }
}
