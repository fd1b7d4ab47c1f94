using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Compression;

/// <summary>Carries what two models have in common from one to the other.</summary>
internal static class StateCopy
{
    /// <summary>Fills every tensor of a model that the other one has under the same name, exactly.</summary>
    /// <returns>Names and tensors that the other one does not have.</returns>
    public static IReadOnlyList<(string Name, Tensor Tensor)> Fill(Transformer model, Transformer from)
    {
        Dictionary<string, Tensor> sources = from.StateTensors.ToDictionary(item => item.Name, item => item.Tensor);
        var rest = new List<(string, Tensor)>();
        foreach ((string name, Tensor tensor) in model.StateTensors)
        {
            if (sources.TryGetValue(name, out Tensor? source))
            {
                tensor.FromDoubles(source.ToDoubles());
            }
            else
            {
                rest.Add((name, tensor));
            }
        }

        return rest;
    }
}
