using MoeSharp.Core;
using MoeSharp.Reference;

namespace MoeSharp.Conformance;

/// <summary>One call of one op with data: what to allocate, how to call it and how far a float32 backend may stray.</summary>
/// <remarks>
/// The same description serves every kind of check: against the oracle, with poisoned buffers, with other thread counts,
/// with wrong arguments. So an op that is in the catalogue cannot miss one of them.
/// </remarks>
/// <param name="Name">Op and size, unique in its family.</param>
/// <param name="Tensors">Every tensor argument.</param>
/// <param name="Call">Calls the op.</param>
/// <param name="Bounds">Largest error allowed per element of each float output; an output that is not named must be equal.</param>
public sealed record OpCase(
    string Name, IReadOnlyList<OpTensor> Tensors, Action<Backend, TensorSet> Call, Func<OpRun, Dictionary<string, double[]>> Bounds)
{
    /// <summary>The float type of the subject that this case is for.</summary>
    public DType FloatType { get; init; } = DType.Float32;

    /// <summary>The same case for a subject that stores floats in a type: the oracle gets the numbers that the subject can hold.</summary>
    public OpCase For(DType type) => type != DType.BFloat16 ? this : this with
    {
        FloatType = type,
        Tensors = [.. Tensors.Select(tensor => tensor.IsInteger || tensor.IsWide ? tensor : tensor with { Data = Array.ConvertAll(tensor.Data, Tolerance.ToBFloat16) })],
    };

    /// <summary>What the op writes.</summary>
    public IEnumerable<OpTensor> Outputs => Tensors.Where(tensor => tensor.Role != Role.In);

    /// <summary>Runs the op on a backend and returns the values of all tensors after it.</summary>
    public OpRun RunOn(Backend backend, Poison poison)
    {
        using var set = new TensorSet(backend, this, poison);
        Call(backend, set);
        backend.Synchronize();
        return new OpRun(this, Tensors.ToDictionary(tensor => tensor.Name, set.Values));
    }

    /// <summary>Runs the op on several backends at the same time: all are called before any result is read.</summary>
    public IReadOnlyList<OpRun> RunTogether(IReadOnlyList<Backend> backends)
    {
        var sets = new List<TensorSet>();
        try
        {
            sets.AddRange(backends.Select(backend => new TensorSet(backend, this, Poison.Loud)));
            foreach ((Backend backend, TensorSet set) in backends.Zip(sets))
            {
                Call(backend, set);
            }

            return [.. sets.Select(set => new OpRun(this, Tensors.ToDictionary(tensor => tensor.Name, set.Values)))];
        }
        finally
        {
            sets.ForEach(set => set.Dispose());
        }
    }

    /// <summary>Runs the op on the oracle.</summary>
    public OpRun RunOnReference()
    {
        using var oracle = new ReferenceBackend();
        return RunOn(oracle, Poison.Loud);
    }
}

/// <summary>The values of all tensors after a run.</summary>
public sealed class OpRun(OpCase op, IReadOnlyDictionary<string, double[]> after)
{
    /// <summary>Whether the subject rounds what it stores in its float type to bfloat16.</summary>
    public bool IsNarrow => op.FloatType == DType.BFloat16;

    /// <summary>The values of a tensor after the run (for an input: its data).</summary>
    public double[] this[string name] => after[name];

    /// <summary>The values of an in-out tensor before the run.</summary>
    public double[] Before(string name) => op.Tensors.Single(tensor => tensor.Name == name).Data;

    /// <summary>Output names with a hash of their bits, so that a failure says which output differs.</summary>
    public string Hash() => string.Join(' ', op.Outputs.Select(output =>
    {
        ulong hash = 14695981039346656037;
        foreach (double value in this[output.Name])
        {
            hash = (hash ^ (ulong)BitConverter.DoubleToInt64Bits(value)) * 1099511628211;
        }

        return $"{output.Name}:{hash:x16}";
    }));

    /// <summary>The same op on the oracle with the absolute values of all float inputs: the sum of the magnitudes of all terms.</summary>
    /// <param name="unchanged">Inputs that keep their sign, because the op is not a sum of products in them.</param>
    public OpRun Magnitudes(params string[] unchanged) =>
        With(tensor => tensor.IsInteger || unchanged.Contains(tensor.Name) ? tensor.Data : Array.ConvertAll(tensor.Data, Math.Abs));

    /// <summary>The same op on the oracle with other data.</summary>
    public OpRun With(Func<OpTensor, double[]> data) =>
        (op with { Tensors = [.. op.Tensors.Select(tensor => tensor with { Data = data(tensor) })] }).RunOnReference();
}
