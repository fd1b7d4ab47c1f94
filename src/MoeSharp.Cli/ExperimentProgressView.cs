using MoeSharp.Experiments;

namespace MoeSharp.Cli;

/// <summary>Shows how an experiment goes: a bar that is redrawn where a person watches, some fifty lines where standard error is redirected.</summary>
internal sealed class ExperimentProgressView(CommandContext context, string experiment) : IProgress<ExperimentProgress>
{
    private const int Lines = 50;
    private int _shown = -1;
    private bool _drawn;

    /// <inheritdoc/>
    public void Report(ExperimentProgress value)
    {
        if (context.Quiet)
        {
            return;
        }

        if (context.Terminal.ErrorIsTerminal)
        {
            Draw(value);
            return;
        }

        int slot = value.Total == 0 ? 0 : value.Done * Lines / value.Total;
        if (slot != _shown || value.Last is null)
        {
            _shown = slot;
            context.Error.WriteLine(Line(value));
        }
    }

    private string Line(ExperimentProgress value)
    {
        string last = value.Last is { } key ? $"  {key}: {TextReport.Fixed(value.Loss, 4)}" : string.Empty;
        string left = value.Left is TimeSpan time ? $"  left {TextReport.Duration(time)}" : string.Empty;
        return $"{experiment} {value.Phase} {value.Done}/{value.Total}{last}{left}";
    }

    private void Draw(ExperimentProgress value)
    {
        double share = value.Total == 0 ? 1 : value.Done / (double)value.Total;
        int width = Math.Clamp(context.Terminal.Width - 2, 10, 60), full = (int)Math.Round(share * width);
        (string on, string off, string reset) = context.Terminal.Color ? ("\u001b[32m", "\u001b[90m", "\u001b[0m") : (string.Empty, string.Empty, string.Empty);
        string text = Line(value);
        int most = context.Terminal.Width - 1;
        context.Error.Write(_drawn ? "\u001b[2A\r\u001b[J" : string.Empty);
        context.Error.WriteLine($"{on}{new string('━', full)}{off}{new string('─', width - full)}{reset}");
        context.Error.WriteLine(text.Length > most ? text[..most] : text);
        _drawn = true;
    }
}
