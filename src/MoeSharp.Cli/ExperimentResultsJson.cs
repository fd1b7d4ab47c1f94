using System.Text.Json;
using MoeSharp.Experiments;

namespace MoeSharp.Cli;

/// <summary>Writes the <c>results.json</c> of an experiment: everything the report shows, and every cell behind it.</summary>
internal static class ExperimentResultsJson
{
    /// <summary>The text of the file.</summary>
    public static string Render(ExperimentConfig config, IReadOnlyList<StudyResults> studies, string machine)
    {
        using var output = new StringWriter { NewLine = "\n" };
        JsonReport.Write(output, $"experiment {config.Experiment.Name}", json => Fields(json, config, studies, machine));
        return output.ToString();
    }

    /// <summary>The claims as members of an object.</summary>
    public static void Claims(Utf8JsonWriter json, StudyResults study)
    {
        json.WriteStartArray("claims");
        foreach (Claim claim in study.Claims)
        {
            json.WriteStartObject();
            json.WriteString("outcome", JsonReport.Snake(claim.Outcome.ToString()));
            json.WriteString("statement", claim.Statement);
            json.WriteString("evidence", claim.Evidence);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void Fields(Utf8JsonWriter json, ExperimentConfig config, IReadOnlyList<StudyResults> studies, string machine)
    {
        json.WriteString("title", config.Experiment.Title);
        json.WriteString("source", config.Experiment.Source);
        json.WriteString("machine", machine);
        json.WriteString("rule", Claim.Rule);
        json.WritePropertyName("config");
        json.WriteRawValue(config.ToJson().Trim());
        json.WriteStartArray("studies");
        foreach (StudyResults study in studies)
        {
            json.WriteStartObject();
            json.WriteString("name", study.Study.Name);
            json.WriteString("title", study.Study.Title);
            json.WriteString("loss", study.Study.LossName);
            Claims(json, study);
            json.WriteStartArray("arms");
            foreach (ArmResult arm in study.Arms)
            {
                Arm(json, arm, study.Timings.FirstOrDefault(timing => timing.Arm.Name == arm.Arm.Name));
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void Arm(Utf8JsonWriter json, ArmResult arm, ArmTiming? timing)
    {
        json.WriteStartObject();
        json.WriteString("name", arm.Arm.Name);
        json.WriteString("label", arm.Arm.Label);
        json.WriteString("role", ExperimentText.Of(arm.Arm.Role));
        json.WriteNumber("balance_weight", arm.Weight);
        json.WriteBoolean("at_edge_of_sweep", arm.IsAtEdge);
        json.WriteStartArray("sweep");
        foreach (SweepPoint point in arm.Sweep)
        {
            json.WriteStartObject();
            json.WriteNumber("balance_weight", point.Weight);
            json.Number("loss", point.Loss.Mean);
            json.Number("real_experts", point.RealExperts.Mean);
            json.WriteBoolean("within_budget", point.IsWithinBudget);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        if (timing is not null)
        {
            json.WriteStartObject("timing");
            json.Number("rows", timing.Rows);
            json.Number("microseconds", timing.Microseconds);
            json.Number("microseconds_every_slot_real", timing.FullMicroseconds);
            json.Number("flop_ratio", timing.FlopRatio);
            json.Number("time_ratio", timing.TimeRatio);
            json.Number("time_ratio_over_flop_ratio", timing.Realised);
            json.WriteEndObject();
        }

        json.WriteStartObject("mean");
        Spreads(json, arm, spread => spread.Mean);
        json.WriteEndObject();
        json.WriteStartObject("standard_deviation");
        Spreads(json, arm, spread => spread.Deviation);
        json.WriteEndObject();
        json.WriteStartArray("seeds");
        for (int i = 0; i < arm.Cells.Count; i++)
        {
            json.WriteStartObject();
            json.WriteNumber("seed", ExperimentRunner.FirstSeed + (ulong)i);
            arm.Cells[i].Write(json);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void Spreads(Utf8JsonWriter json, ArmResult arm, Func<Spread, double> part)
    {
        foreach (string metric in arm.Cells[0].Numbers.Keys.Where(metric => metric != Metric.Seconds))
        {
            json.Number(metric, part(arm.Of(metric)));
        }
    }
}
