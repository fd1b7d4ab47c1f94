using System.CommandLine;
using System.Globalization;
using System.Numerics;
using MoeSharp.Core;

namespace MoeSharp.Cli;

/// <summary>Makes options whose errors name the option, the allowed values and what was given.</summary>
internal static class Options
{
    /// <summary>A number between bounds; null when it is not given.</summary>
    public static Option<T?> Number<T>(string name, string description, T low, T high, bool aboveLow = false)
        where T : struct, INumber<T>
    {
        string kind = T.IsInteger(low) && typeof(T) != typeof(double) ? "a whole number" : "a number";
        string range = aboveLow ? $"above {low} and at most {high}" : $"from {low} to {high}";
        return new Option<T?>(name)
        {
            Description = description,
            HelpName = "N",
            CustomParser = result =>
            {
                string text = result.Tokens.Count == 1 ? result.Tokens[0].Value : string.Empty;
                bool parsed = T.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out T value) && T.IsFinite(value);
                if (!parsed || value < low || value > high || (aboveLow && value == low))
                {
                    result.AddError($"{name} is {kind} {range}, got '{text}'.");
                    return null;
                }

                return value;
            },
        };
    }

    /// <summary>One of a few words; recursive, so that one option serves all commands.</summary>
    public static Option<string> Choice(string name, string description, string[] allowed, string initial)
    {
        Option<string> option = Choice(name, description, allowed);
        option.DefaultValueFactory = _ => initial;
        option.Recursive = true;
        return option;
    }

    /// <summary>One of a few words; null when it is not given.</summary>
    public static Option<string> Choice(string name, string description, IReadOnlyList<string> allowed)
    {
        var option = new Option<string>(name)
        {
            Description = description,
            HelpName = string.Join('|', allowed),
            CustomParser = result =>
            {
                string text = result.Tokens.Count == 1 ? result.Tokens[0].Value : string.Empty;
                if (!allowed.Contains(text))
                {
                    result.AddError($"{name} is {string.Join(", ", allowed.SkipLast(1))} or {allowed[^1]}, got '{text}'.");
                }

                return text;
            },
        };
        option.CompletionSources.Add([.. allowed]);
        return option;
    }

    /// <summary>Words; null when the option is not given.</summary>
    public static Option<string> Text(string name, string description, string helpName, bool required = false) => new(name)
    {
        Description = description,
        HelpName = helpName,
        Required = required,
    };

    /// <summary><c>--threshold</c> of a model that was trained with another one; null when it is not given.</summary>
    public static Option<double?> Threshold() => Number(
        "--threshold", "Probability mass that the threshold router collects, instead of the one it was trained with: lower is cheaper.", 0.0, 1.0, aboveLow: true);

    /// <summary><c>--dtype</c>; null when it is not given.</summary>
    public static Option<string> FloatType() =>
        Choice("--dtype", "Type of weights and activations; with bf16, sums and master weights stay in fp32 [default: fp32].", ["fp32", "bf16"]);

    /// <summary>What <c>--dtype</c> says.</summary>
    public static DType FloatType(string? text) => text == "bf16" ? DType.BFloat16 : DType.Float32;

    /// <summary>How <c>--dtype</c> spells a type.</summary>
    public static string Spelling(DType type) => type == DType.BFloat16 ? "bf16" : "fp32";
}
