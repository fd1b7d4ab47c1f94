using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>What an op does with a tensor.</summary>
public enum Role
{
    /// <summary>Read.</summary>
    In,

    /// <summary>Read and written (accumulated, or updated in place).</summary>
    InOut,

    /// <summary>Written; what was there before must not matter.</summary>
    Out,
}

/// <summary>One tensor of an <see cref="OpCase"/>.</summary>
/// <param name="Name">Name of the op's parameter.</param>
/// <param name="Role">What the op does with it.</param>
/// <param name="IsInteger">Int32 instead of the backend's float type.</param>
/// <param name="Shape">Dimensions.</param>
/// <param name="Data">Values of the first elements; empty for outputs. Floats are exact in binary32.</param>
public sealed record OpTensor(string Name, Role Role, bool IsInteger, long[] Shape, double[] Data)
{
    // The parameters that the contract documents as wide, by their names.
    private static readonly HashSet<string> s_wide =
    [
        "weights", "dWeights", "rowWeight", "dRowWeight", "keptWeights", "probabilitySums", "balanceLoss", "zLoss", "dBalanceLoss", "dZLoss", "selectionBias",
        "inverseRms", "dWeight", "dBias", "dTable", "dW1", "dW2", "dConstants", "losses", "logSumExp", "mean", "dMean", "keptWeights",
        "noise", "statistics", "gradient", "factor", "norm", "master", "firstMoment", "secondMoment", "distances", "loss", "dLoss", "dCodebook", "usage",
    ];

    /// <summary>How many leading elements the op may read, or has to write; the rest is a tail that nobody may look at.</summary>
    public long Valid { get; init; } = new Shape(Shape).ElementCount;

    /// <summary>Whether the op takes this tensor in any shape, so that another rank is no mistake.</summary>
    public bool AnyShape { get; init; }

    /// <summary>Whether nothing else fixes the last dimension, so that another width is no mistake.</summary>
    public bool FreeWidth { get; init; }

    /// <summary>Made wide where the contract takes either float type.</summary>
    public bool MadeWide { get; init; }

    /// <summary>Whether the contract wants the backend's wide type here.</summary>
    public bool IsWide => !IsInteger && (MadeWide || s_wide.Contains(Name) || (Name.Length > 1 && Name[0] == 'g' && char.IsAsciiDigit(Name[1])));

    /// <summary>The dtype of this tensor on a backend.</summary>
    public DType TypeOn(Backend backend) => IsInteger ? DType.Int32 : IsWide ? backend.WideType : backend.FloatType;

    /// <summary>An input of floats.</summary>
    public static OpTensor In(string name, double[] data, params long[] shape) => new(name, Role.In, false, shape, data);

    /// <summary>An input of integers.</summary>
    public static OpTensor Ids(string name, int[] data, params long[] shape) =>
        new(name, Role.In, true, shape, Array.ConvertAll(data, x => (double)x));

    /// <summary>A float tensor that the op adds to or updates.</summary>
    public static OpTensor InOut(string name, double[] data, params long[] shape) => new(name, Role.InOut, false, shape, data);

    /// <summary>A float output.</summary>
    public static OpTensor Out(string name, params long[] shape) => new(name, Role.Out, false, shape, []);

    /// <summary>An integer output.</summary>
    public static OpTensor OutIds(string name, params long[] shape) => new(name, Role.Out, true, shape, []);

    /// <summary>The same tensor of which only the first rows mean something.</summary>
    public OpTensor First(long rows)
    {
        long width = Shape.Skip(1).Aggregate(1L, (a, b) => a * b);
        return this with { Valid = rows * width, Data = Role == Role.Out ? [] : Data[..(int)(rows * width)] };
    }

    /// <summary>The same tensor, taken in any shape.</summary>
    public OpTensor OfAnyShape() => this with { AnyShape = true };
}
