using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>The tensors of one run of an <see cref="OpCase"/> on one backend, by name.</summary>
public sealed class TensorSet : IDisposable
{
    private readonly Dictionary<string, Tensor> _tensors = [];

    /// <summary>Allocates every tensor, writes its data, and the poison where the case says nothing.</summary>
    public TensorSet(Backend backend, OpCase op, Poison poison)
    {
        using UnrecordedOrigins quiet = UnrecordedOrigins.Begin();
        foreach (OpTensor description in op.Tensors)
        {
            Add(backend, description, poison);
        }
    }

    /// <summary>A tensor by the name of the op's parameter; replaceable, for runs with mistakes.</summary>
    public Tensor this[string name]
    {
        get => _tensors[name];
        set => _tensors[name] = value;
    }

    /// <summary>The valid elements as doubles.</summary>
    public double[] Values(OpTensor description) => this[description.Name].ToDoubles()[..(int)description.Valid];

    public void Dispose()
    {
        foreach (Tensor tensor in _tensors.Values)
        {
            tensor.Dispose();
        }
    }

    private void Add(Backend backend, OpTensor description, Poison poison)
    {
        var shape = new Shape(description.Shape);
        Tensor tensor = backend.Empty(shape, description.TypeOn(backend));
        _tensors.Add(description.Name, tensor);
        var values = new double[shape.ElementCount];
        Array.Fill(values, description.IsInteger ? poison.Integer : poison.Float);
        description.Data.CopyTo(values, 0);
        if (description.IsInteger)
        {
            tensor.CopyFrom<int>(Array.ConvertAll(values, x => (int)x));
        }
        else
        {
            tensor.FromDoubles(values);
        }
    }
}

/// <summary>What stands in outputs before a run, and behind the valid part of inputs.</summary>
/// <param name="Float">In float tensors.</param>
/// <param name="Integer">In integer tensors.</param>
public readonly record struct Poison(double Float, int Integer)
{
    /// <summary>NaN, and an integer that is no index of anything.</summary>
    public static Poison Loud => new(double.NaN, int.MinValue + 7);

    /// <summary>Zeros.</summary>
    public static Poison Silent => new(0, 0);
}
