using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>What kernels do with data that the host backends refuse, and with infinities: a kernel cannot throw, so the mistake stays visible.</summary>
public abstract class CudaDenseRules(Backend subject)
{
    [Fact]
    public void Embedding_TakesTheNearestRow_ForAnIdOutsideTheTable()
    {
        using Tensor table = subject.FromDoubles([1, 2, 3, 4, 5, 6], 3, 2), ids = subject.From<int>([-7, 1, 3, int.MaxValue], 4), y = subject.Empty(4, 2);
        subject.Embedding(table, ids, y);
        Assert.Equal([1, 2, 3, 4, 5, 6, 5, 6], y.ToDoubles());

        using Tensor dTable = subject.EmptyWide(3, 2);
        subject.Fill(dTable, 0);
        subject.EmbeddingBackward(y, ids, dTable);
        Assert.Equal([1, 2, 3, 4, 10, 12], dTable.ToDoubles());
    }

    [Fact]
    public void Embedding_OfATableWithoutRows_Throws()
    {
        using Tensor table = subject.Empty(0, 2), ids = subject.From<int>([0], 1), y = subject.Empty(1, 2);
        ArgumentException error = Assert.Throws<ArgumentException>(() => subject.Embedding(table, ids, y));
        Assert.Contains("needs a table with rows", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void EmbeddingBackward_SumsAFrequentId_OverManyRuns()
    {
        // 5000 tokens of which all but every hundredth are id 300, beyond one digit of the sort; ones add up without rounding.
        const int Tokens = 5000, Vocabulary = 1000, Width = 3;
        int[] id = [.. Enumerable.Range(0, Tokens).Select(t => t % 100 == 0 ? t % Vocabulary : 300)];
        using Tensor ids = subject.From<int>(id, Tokens), dY = subject.Empty(Tokens, Width), dTable = subject.EmptyWide(Vocabulary, Width);
        subject.Fill(dY, 1);
        subject.Fill(dTable, 0.5);
        subject.EmbeddingBackward(dY, ids, dTable);
        double[] sums = dTable.ToDoubles();
        for (int row = 0; row < Vocabulary; row++)
        {
            Assert.Equal(Enumerable.Repeat(0.5 + id.Count(x => x == row), Width), sums[(row * Width)..((row + 1) * Width)]);
        }
    }

    [Fact]
    public void CrossEntropy_OfATargetBeyondTheVocabulary_IsNaN()
    {
        using Tensor logits = subject.FromDoubles([0, 0, 0, 0], 2, 2), targets = subject.From<int>([1, 2], 2);
        using Tensor losses = subject.EmptyWide(2), logSumExp = subject.EmptyWide(2), mean = subject.EmptyWide(1);
        subject.CrossEntropy(logits, targets, losses, logSumExp, mean);
        Assert.Equal(Math.Log(2), losses.ToDoubles()[0], 6);
        Assert.True(double.IsNaN(losses.ToDoubles()[1]));
        Assert.True(double.IsNaN(mean.ToDoubles()[0]));
    }

    [Theory]
    [InlineData(5)]
    [InlineData(1024)]
    public void CrossEntropy_CountsMaskedLogitsAsNothing_AndKeepsNaN(int vocabulary)
    {
        // Row 0: one finite logit among infinities. Row 1: none. Row 2: a NaN among infinities.
        var values = new double[3 * vocabulary];
        Array.Fill(values, double.NegativeInfinity);
        values[vocabulary - 2] = 2.5;
        values[(3 * vocabulary) - 1] = double.NaN;
        using Tensor logits = subject.FromDoubles(values, 3, vocabulary), targets = subject.From<int>([vocabulary - 2, -1, -1], 3);
        using Tensor losses = subject.EmptyWide(3), logSumExp = subject.EmptyWide(3), mean = subject.EmptyWide(1);
        subject.CrossEntropy(logits, targets, losses, logSumExp, mean);
        Assert.Equal([2.5, double.NegativeInfinity, double.NaN], logSumExp.ToDoubles());
        Assert.Equal([0, 0, 0], losses.ToDoubles());
        Assert.Equal([0], mean.ToDoubles());
    }

    [Fact]
    public void ClipFactor_OfANormThatIsNotANumber_IsNaN()
    {
        using Tensor norm = subject.EmptyWide(1), factor = subject.EmptyWide(1);
        subject.Fill(norm, double.NaN);
        subject.ClipFactor(norm, 1, factor);
        Assert.True(double.IsNaN(factor.ToDoubles()[0]));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(double.NaN)]
    public void Rope_WithoutAPositiveBase_Throws(double theta)
    {
        using Tensor x = subject.Empty(1, 4), positions = subject.From<int>([0], 1);
        ArgumentException error = Assert.Throws<ArgumentException>(() => subject.Rope(x, positions, new RopeSpec(4, theta), false, x));
        Assert.Contains("positive, finite base", error.Message, StringComparison.Ordinal);
    }
}

[Collection(CudaPool.Single)]
public sealed class CudaDenseRulesInFloat32(BackendPool pool) : CudaDenseRules(pool.Cuda.Float32);

[Collection(CudaPool.Half)]
public sealed class CudaDenseRulesInBFloat16(BackendPool pool) : CudaDenseRules(pool.Cuda.BFloat16);
