using System.Text.Json;
using MoeSharp.Core;

namespace MoeSharp.Conformance;

/// <summary>One case of the null-layer goldens: sizes, inputs and expected values.</summary>
public sealed class GoldenCase
{
    private readonly JsonElement _entry;
    private readonly Fixture _inputs;

    private GoldenCase(JsonElement entry)
    {
        _entry = entry;
        Results = Fixture.Open(Text("file"));
        _inputs = Fixture.Open(Text("inputs"));
        bool shared = Text("variant") == "one_logit";
        int nulls = Size("M");
        Spec = new RouterSpec
        {
            Experts = Size("E"), TopK = Size("K"), SharedNullLogit = shared, Nulls = nulls == 0 ? [] : [new(NullKind.Zero, nulls)],
        };
        Inputs = new(Tokens, Hidden, Width, _inputs.Values("x"), Fused(_inputs.Values("gate"), _inputs.Values("up")), _inputs.Values("down"), _inputs.Values("dout"));
    }

    /// <summary>Names in cases.json.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. Entries().Select(entry => entry.GetProperty("name").GetString()!)];

    public int Tokens => Size("T");

    public int Hidden => Size("d");

    public int Width => Size("n");

    /// <summary>The router of the case.</summary>
    public RouterSpec Spec { get; }

    /// <summary>Expected values.</summary>
    public Fixture Results { get; }

    /// <summary>x, the experts (gate and up fused) and dOut.</summary>
    public ExpertLayer.Inputs Inputs { get; }

    /// <summary>Router weights [C, d].</summary>
    public double[] Router => Results.Values("router");

    /// <summary>Experts whose gradients are stored: a list in the large cases, else all.</summary>
    public int[] StoredExperts => Results.Has("grad.experts")
        ? Array.ConvertAll(Results.Values("grad.experts"), x => (int)x)
        : [.. Enumerable.Range(0, Spec.Experts)];

    public static GoldenCase Open(string name) => new(Entries().Single(entry => entry.GetProperty("name").GetString() == name));

    /// <summary>A scalar of the case.</summary>
    public double Number(string key) => _entry.GetProperty(key).GetDouble();

    /// <summary>[E, n, d] gate and up to [E, 2n, d].</summary>
    private double[] Fused(double[] gate, double[] up)
    {
        int size = Width * Hidden;
        return [.. Enumerable.Range(0, Spec.Experts).SelectMany(e => gate[(e * size)..((e + 1) * size)].Concat(up[(e * size)..((e + 1) * size)]))];
    }

    private int Size(string key) => _entry.GetProperty(key).GetInt32();

    private string Text(string key) => _entry.GetProperty(key).GetString()!;

    private static JsonElement.ArrayEnumerator Entries() =>
        JsonSerializer.Deserialize<JsonElement>(File.ReadAllText(Fixture.PathOf("cases.json"))).GetProperty("cases").EnumerateArray();
}
