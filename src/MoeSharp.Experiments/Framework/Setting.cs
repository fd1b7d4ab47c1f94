using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>A number, or a list of numbers, that the configuration file of an experiment holds.</summary>
/// <param name="Name">Key in the file, snake_case.</param>
/// <param name="Full">Value of a full run.</param>
/// <param name="Quick">Value of a quick run.</param>
/// <param name="Low">Smallest value allowed.</param>
/// <param name="High">Largest value allowed.</param>
/// <param name="IsWhole">Whether only whole numbers are allowed.</param>
/// <param name="IsList">Whether it is a list, of at least one number.</param>
/// <param name="Meaning">What it is, for the report.</param>
internal sealed record Setting(
    string Name, IReadOnlyList<double> Full, IReadOnlyList<double> Quick, double Low, double High, bool IsWhole, bool IsList, string Meaning)
{
    /// <summary>A whole number, at least 1 unless told otherwise.</summary>
    public static Setting Whole(string name, int full, int quick, string meaning, int low = 1) =>
        new(name, [full], [quick], low, int.MaxValue, IsWhole: true, IsList: false, meaning);

    /// <summary>A number in a range.</summary>
    public static Setting Real(string name, double full, double quick, string meaning, double low, double high) =>
        new(name, [full], [quick], low, high, IsWhole: false, IsList: false, meaning);

    /// <summary>A list of numbers in a range.</summary>
    public static Setting List(string name, double[] full, double[] quick, string meaning, double low, double high) =>
        new(name, full, quick, low, high, IsWhole: false, IsList: true, meaning);

    /// <summary>Checks a value.</summary>
    /// <exception cref="ArgumentException">It is out of range; the message says how.</exception>
    public void Check(IReadOnlyList<double> value, string path)
    {
        Guard.That(IsList ? value.Count >= 1 : value.Count == 1, $"'{path}' takes {(IsList ? "at least one number" : "one number")}, got {value.Count}.");
        foreach (double number in value)
        {
            Guard.That(
                number >= Low && number <= High && (!IsWhole || number == Math.Floor(number)),
                FormattableString.Invariant($"'{path}' is {(IsWhole ? "a whole number" : "a number")} from {Low} to {High}, got {number}."));
        }
    }
}

/// <summary>The values of one section of a configuration.</summary>
internal sealed class SettingValues
{
    private readonly Dictionary<string, IReadOnlyList<double>> _values;

    /// <summary>Takes values by name; they were checked.</summary>
    public SettingValues(IReadOnlyList<Setting> settings, IReadOnlyDictionary<string, IReadOnlyList<double>> values)
    {
        Settings = settings;
        _values = settings.ToDictionary(setting => setting.Name, setting => values[setting.Name]);
    }

    /// <summary>What there is, in the order of the file.</summary>
    public IReadOnlyList<Setting> Settings { get; }

    /// <summary>A number.</summary>
    public double this[string name] => _values[name][0];

    /// <summary>A whole number.</summary>
    public int Int(string name) => checked((int)_values[name][0]);

    /// <summary>A list; of one element for a single number.</summary>
    public IReadOnlyList<double> List(string name) => _values[name];

    /// <summary>The same with another value of one setting.</summary>
    public SettingValues With(string name, double value)
    {
        var values = new Dictionary<string, IReadOnlyList<double>>(_values) { [name] = [value] };
        return new SettingValues(Settings, values);
    }
}
