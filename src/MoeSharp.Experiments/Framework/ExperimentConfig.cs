using System.Globalization;
using System.Text.Json;
using MoeSharp.Core;
using MoeSharp.Models;

namespace MoeSharp.Experiments;

/// <summary>Everything that decides the numbers of an experiment: seeds, and one section of settings per study.</summary>
/// <remarks>
/// A file names the experiment and whatever differs from the defaults, so that a hand-written one is short; the one that a run leaves in its
/// folder is complete. A name that nothing reads is refused, because a misspelt setting would silently be the default.
/// </remarks>
internal sealed class ExperimentConfig
{
    private const string General = "general";

    private static readonly Setting[] s_general =
    [
        Setting.Whole("seeds", 5, 2, "seeds of the final evaluation; none of them took part in tuning"),
        Setting.Whole("tuning_seeds", 2, 1, "seeds on which every arm's balance weight is chosen"),
    ];

    private readonly Dictionary<string, SettingValues> _sections;

    private ExperimentConfig(Experiment experiment, bool quick, Dictionary<string, SettingValues> sections)
    {
        Experiment = experiment;
        IsQuick = quick;
        _sections = sections;
    }

    /// <summary>What is run.</summary>
    public Experiment Experiment { get; }

    /// <summary>Whether the defaults are those of a quick run.</summary>
    public bool IsQuick { get; }

    /// <summary>Seeds of the final evaluation.</summary>
    public int Seeds => _sections[General].Int("seeds");

    /// <summary>Seeds of the sweep.</summary>
    public int TuningSeeds => _sections[General].Int("tuning_seeds");

    /// <summary>The settings of a study.</summary>
    public SettingValues this[Study study] => _sections[study.Name];

    /// <summary>The defaults of an experiment.</summary>
    public static ExperimentConfig Default(Experiment experiment, bool quick) =>
        new(experiment, quick, Sections(experiment).ToDictionary(section => section.Name, section => Values(section.Settings, quick)));

    /// <summary>Reads a file over the defaults.</summary>
    /// <exception cref="CheckpointFormatException">Not JSON, of another experiment, an unknown name, or a value out of range.</exception>
    public static ExperimentConfig Read(Experiment experiment, bool quick, string json, string file)
    {
        using JsonDocument document = JsonFields.Parse(json, file);
        var root = new JsonFields(document.RootElement, file);
        string name = root.Text("experiment", experiment.Name);
        Require(name == experiment.Name, $"{file} configures the experiment '{name}', not '{experiment.Name}'.");
        quick = root.Boolean("quick", quick);
        var sections = new Dictionary<string, SettingValues>();
        foreach ((string section, IReadOnlyList<Setting> settings) in Sections(experiment))
        {
            JsonFields? fields = section == General ? root : root.Has(section) ? root.Object(section) : null;
            var values = settings.ToDictionary(setting => setting.Name, setting => Value(setting, quick));
            foreach (Setting setting in settings.Where(setting => fields?.Has(setting.Name) == true))
            {
                values[setting.Name] = Value(fields!, setting, $"{(section == General ? string.Empty : section + ".")}{setting.Name}", file);
            }

            sections[section] = new SettingValues(settings, values);
            if (fields is not null && section != General)
            {
                NothingUnread(fields, file, section + ".", settings.Select(setting => setting.Name));
            }
        }

        NothingUnread(root, file, string.Empty, ["experiment", "quick", .. s_general.Select(setting => setting.Name), .. experiment.Studies.Select(study => study.Name)]);
        return new ExperimentConfig(experiment, quick, sections);
    }

    /// <summary>The same with another number of evaluation seeds.</summary>
    public ExperimentConfig WithSeeds(int seeds) =>
        new(Experiment, IsQuick, new Dictionary<string, SettingValues>(_sections) { [General] = _sections[General].With("seeds", seeds) });

    /// <summary>The complete file.</summary>
    public string ToJson() => JsonText.Indented(json =>
    {
        json.WriteStartObject();
        json.WriteString("experiment", Experiment.Name);
        json.WriteBoolean("quick", IsQuick);
        foreach ((string section, IReadOnlyList<Setting> settings) in Sections(Experiment))
        {
            if (section != General)
            {
                json.WriteStartObject(section);
            }

            foreach (Setting setting in settings)
            {
                Write(json, setting, _sections[section].List(setting.Name));
            }

            if (section != General)
            {
                json.WriteEndObject();
            }
        }

        json.WriteEndObject();
    });

    /// <summary>Settings that differ from another configuration of the experiment, as "name: mine, there theirs"; the number of seeds is no difference.</summary>
    public IReadOnlyList<string> Differences(ExperimentConfig other) =>
    [
        .. from section in Sections(Experiment)
           from setting in section.Settings
           where setting.Name != "seeds"
           let mine = Text(_sections[section.Name].List(setting.Name))
           let theirs = Text(other._sections[section.Name].List(setting.Name))
           where mine != theirs
           select $"{(section.Name == General ? string.Empty : section.Name + ".")}{setting.Name} is {theirs} there and {mine} here",
    ];

    /// <summary>A value as the file spells it.</summary>
    public static string Text(IReadOnlyList<double> value) =>
        string.Join(", ", value.Select(number => number.ToString("R", CultureInfo.InvariantCulture)));

    private static IEnumerable<(string Name, IReadOnlyList<Setting> Settings)> Sections(Experiment experiment) =>
        [(General, s_general), .. experiment.Studies.Select(study => (study.Name, study.Settings))];

    private static IReadOnlyList<double> Value(Setting setting, bool quick) => quick ? setting.Quick : setting.Full;

    private static SettingValues Values(IReadOnlyList<Setting> settings, bool quick) =>
        new(settings, settings.ToDictionary(setting => setting.Name, setting => Value(setting, quick)));

    private static IReadOnlyList<double> Value(JsonFields fields, Setting setting, string path, string file)
    {
        IReadOnlyList<double> value = setting.IsList ? fields.Numbers(setting.Name) : [fields.Number(setting.Name, _ => true, "a number")];
        try
        {
            setting.Check(value, path);
            return value;
        }
        catch (ArgumentException error)
        {
            throw new CheckpointFormatException($"{file}: {error.Message}", error);
        }
    }

    private static void NothingUnread(JsonFields fields, string file, string prefix, IEnumerable<string> known) => Require(
        fields.Unread.Count == 0,
        $"{file}: '{prefix}{(fields.Unread.Count == 0 ? string.Empty : fields.Unread[0])}' is not a setting; there are {string.Join(", ", known)}.");

    private static void Require(bool holds, string message)
    {
        if (!holds)
        {
            throw new CheckpointFormatException(message);
        }
    }

    private static void Write(Utf8JsonWriter json, Setting setting, IReadOnlyList<double> value)
    {
        if (!setting.IsList)
        {
            json.WriteNumber(setting.Name, value[0]);
            return;
        }

        // One line per list: an indented array of five weights would be seven lines.
        json.WritePropertyName(setting.Name);
        json.WriteRawValue($"[{Text(value)}]");
    }
}
