using MoeSharp.Core;
using Xunit;

namespace MoeSharp.Conformance;

/// <summary>What every backend, the oracle included, owes for every op: no look at what is not its own, and mistakes are exceptions.</summary>
public abstract class ContractConformance<TCatalog>(Backend subject)
    where TCatalog : ICatalog
{
    /// <summary>Names of the cases.</summary>
    public static TheoryData<string> Names { get; } = [.. TCatalog.All.Select(op => op.Name)];

    /// <summary>One case per op.</summary>
    public static TheoryData<string> Ops { get; } = [.. TCatalog.All.Where(op => op.Tensors.All(IsNotEmpty)).DistinctBy(op => op.Name.Split(' ')[0]).Select(op => op.Name)];

    /// <summary>The backend under test.</summary>
    protected Backend Subject { get; } = subject;

    [Theory]
    [MemberData(nameof(Names))]
    public void Results_DoNotDependOn_WhatStoodInTheBuffers(string name)
    {
        OpCase op = Case(name);
        OpRun poisoned = op.RunOn(Subject, Poison.Loud), zeroed = op.RunOn(Subject, Poison.Silent);
        foreach (OpTensor output in op.Outputs)
        {
            Assert.True(
                poisoned[output.Name].Select(BitConverter.DoubleToInt64Bits).SequenceEqual(zeroed[output.Name].Select(BitConverter.DoubleToInt64Bits)),
                $"{name}: {output.Name} depends on what stood in outputs, or behind the rows in use, before.");
        }
    }

    [Theory]
    [MemberData(nameof(Ops))]
    public void AMistakeInAnyTensor_Throws_AndTheNextCallWorks(string name)
    {
        OpCase op = Case(name);
        foreach (OpTensor tensor in op.Tensors)
        {
            ThrowsWith(op, tensor, backend => backend.Empty(new Shape(tensor.Shape), DType.Int64));
            ThrowsWith(op, tensor, backend => backend.Empty(new Shape(tensor.Shape), tensor.IsInteger ? backend.FloatType : DType.Int32));
            ThrowsWith(op, tensor, Disposed);
            if (!tensor.AnyShape)
            {
                ThrowsWith(op, tensor, backend => backend.Empty(new Shape([.. tensor.Shape, 1]), tensor.TypeOn(Subject)));
            }

            if (!tensor.FreeWidth)
            {
                ThrowsWith(op, tensor, backend => backend.Empty(new Shape([.. tensor.Shape[..^1], tensor.Shape[^1] + 1]), tensor.TypeOn(Subject)));
            }

            Tensor Disposed(Backend backend)
            {
                Tensor made = backend.Empty(new Shape(tensor.Shape), tensor.TypeOn(Subject));
                made.Dispose();
                return made;
            }
        }

        op.RunOn(Subject, Poison.Loud);
    }

    /// <summary>The case of a name.</summary>
    protected static OpCase Case(string name) => TCatalog.All.Single(op => op.Name == name);

    private static bool IsNotEmpty(OpTensor tensor) => new Shape(tensor.Shape).ElementCount > 0;

    private void ThrowsWith(OpCase op, OpTensor tensor, Func<Backend, Tensor> wrong)
    {
        using var set = new TensorSet(Subject, op, Poison.Silent);
        set[tensor.Name].Dispose();
        set[tensor.Name] = wrong(Subject);
        Exception? exception = Record.Exception(() => op.Call(Subject, set));
        Assert.True(
            exception is ArgumentException or ObjectDisposedException,
            $"{op.Name} with {tensor.Name} = {set[tensor.Name]}: expected an argument error, got {exception?.ToString() ?? "none"}.");
    }
}
