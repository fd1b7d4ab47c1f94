using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>Mistakes in arguments that every backend sees on the host.</summary>
public abstract class HostChecks(Backend subject)
{
    [Fact]
    public void Gate_BiasThatTheSpecDoesNotAskFor_Throws()
    {
        var spec = new RouterSpec { Experts = 2, TopK = 1 };
        using var scope = new TensorScope();
        var result = new GateResult(
            subject.Empty(new Shape(1, 1), DType.Int32), subject.Empty(1, 1), subject.Empty(new Shape(2), DType.Int32), subject.Empty(new Shape(1, 2), DType.Int32), subject.Empty(2), subject.Empty(1), subject.Empty(1));
        Tensor logits = subject.FromDoubles([1, 2], 1, 2), bias = subject.FromDoubles([0, 0], 2);
        Assert.Throws<ArgumentException>(() => subject.Gate(logits, bias, spec, result));
        Assert.Throws<ArgumentException>(() => subject.Gate(logits, null, spec with { SelectionBias = SelectionBias.Score }, result));
        Assert.Throws<ArgumentException>(() => subject.Gate(logits, null, spec with { TopK = 3 }, result));
    }

    [Fact]
    public void Overlap_OfDestinationAndSource_Throws()
    {
        using Tensor memory = subject.Empty(24), a = memory.View(new Shape(3, 3)), b = memory.View(new Shape(3, 3), 9), c = memory.View(new Shape(3, 3), 15);
        subject.Fill(memory, 1);
        Assert.Throws<ArgumentException>(() => subject.Gemm(a, b, false, false, false, c));
        subject.Gemm(a, a, false, false, false, c);
        Assert.Equal(3, c.ToDoubles()[8]);
    }

    [Theory]
    [InlineData(3, 2, 5, 5)]
    [InlineData(2, 2, 6, 5)]
    public void Attention_LengthsThatDoNotFit_Throw(int heads, int keyHeads, int queries, int keys)
    {
        var spec = new AttentionSpec(1, queries, keys, heads, keyHeads, 4, 0.5);
        using Tensor q = subject.Empty(queries, heads * 4), k = subject.Empty(keys, keyHeads * 4), v = subject.Empty(keys, keyHeads * 4);
        using Tensor o = subject.Empty(queries, heads * 4), logSumExp = subject.Empty(queries, heads);
        Assert.Throws<ArgumentException>(() => subject.Attention(q, k, v, spec, o, logSumExp));
    }

    [Fact]
    public void HostCopies_OfOtherLengthOrType_Throw()
    {
        using Tensor tensor = subject.Empty(4);
        Assert.Throws<ArgumentException>(() => tensor.CopyFrom<int>([1, 2, 3, 4]));
        Assert.Throws<ArgumentException>(() => tensor.FromDoubles([1, 2, 3]));
        tensor.Dispose();
        Assert.Throws<ObjectDisposedException>(() => tensor.FromDoubles([1, 2, 3, 4]));
        Assert.Throws<ObjectDisposedException>(() => tensor.ToDoubles());
    }
}

/// <summary>Mistakes in the data of arguments: backends on the host see them and say so.</summary>
public abstract class HostDataChecks(Backend subject) : HostChecks(subject)
{
    private readonly Backend subject = subject;

    [Theory]
    [InlineData(-1)]
    [InlineData(4)]
    [InlineData(int.MinValue)]
    [InlineData(int.MaxValue)]
    public void Embedding_IdOutsideTheTable_Throws(int id)
    {
        using Tensor table = subject.Empty(4, 3), ids = subject.From<int>([0, id], 2), y = subject.Empty(2, 3);
        subject.Fill(table, 1);
        subject.Fill(y, 0);
        Assert.ThrowsAny<ArgumentException>(() => subject.Embedding(table, ids, y));
        Assert.ThrowsAny<ArgumentException>(() => subject.EmbeddingBackward(y, ids, table));
    }
}

/// <summary>The oracle's checks.</summary>
public sealed class HostChecksOnReference(BackendPool pool) : HostDataChecks(pool.Reference);

/// <summary>The CPU backend's checks.</summary>
public sealed class HostChecksOnCpu(BackendPool pool) : HostDataChecks(pool.Cpu);
