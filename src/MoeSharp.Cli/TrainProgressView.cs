using MoeSharp.Models;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace MoeSharp.Cli;

/// <summary>Shows how training goes: a live bar where a person watches, plain lines where standard error is redirected.</summary>
internal abstract class TrainProgressView : IProgress<TrainProgress>, IDisposable
{
    /// <summary>The view that fits the streams of a command.</summary>
    public static TrainProgressView Create(CommandContext context) =>
        context.Quiet ? new Silent() : context.Terminal.ErrorIsTerminal ? new Live(context) : new Lines(context.Error);

    /// <inheritdoc/>
    public abstract void Report(TrainProgress value);

    /// <inheritdoc/>
    public virtual void Dispose()
    {
    }

    private sealed class Silent : TrainProgressView
    {
        public override void Report(TrainProgress value)
        {
        }
    }

    /// <summary>At most about fifty lines, and one per evaluation, so that logs stay readable.</summary>
    private sealed class Lines(TextWriter error) : TrainProgressView
    {
        private long _shown = -1;

        public override void Report(TrainProgress value)
        {
            long slot = value.TotalSteps == 0 ? 0 : value.Step * 50 / value.TotalSteps;
            if (slot == _shown && value.ValidationBitsPerByte is null && value.Step != value.TotalSteps)
            {
                return;
            }

            _shown = slot;
            string validation = value.ValidationBitsPerByte is double bits ? $"  validation {TextReport.Fixed(bits, 3)}" : string.Empty;
            error.WriteLine(
                $"step {value.Step}/{value.TotalSteps}  train {TextReport.Fixed(value.TrainBitsPerByte, 3)}{validation} bits/byte"
                + $"  null {SvgChart.Percent(value.NullShare, 1)}  balance {TextReport.Fixed(value.LoadBalance, 2)}"
                + $"  {TextReport.Count(value.TokensPerSecond)} tokens/s  left {TextReport.Duration(value.Eta)}");
        }
    }

    /// <summary>Redraws three lines in place. Drawing happens on the training thread: once per log line, so it costs nothing that shows.</summary>
    private sealed class Live : TrainProgressView
    {
        private readonly IAnsiConsole _console;
        private readonly bool _color;
        private readonly int _width;
        private readonly TextWriter _error;
        private readonly List<double> _losses = [];
        private double? _validation;
        private int _linesDrawn;

        public Live(CommandContext context)
        {
            _color = context.Terminal.Color;
            _width = context.Terminal.Width;
            _error = context.Error;
            _console = AnsiConsole.Create(new AnsiConsoleSettings
            {
                Ansi = AnsiSupport.Yes,
                ColorSystem = _color ? ColorSystemSupport.Standard : ColorSystemSupport.NoColors,
                Interactive = InteractionSupport.No,
                Out = new AnsiConsoleOutput(context.Error),
            });
            _console.Profile.Width = _width;
        }

        public override void Report(TrainProgress value)
        {
            _validation = value.ValidationBitsPerByte ?? _validation;
            if (value.ValidationBitsPerByte is null)
            {
                _losses.Add(value.TrainBitsPerByte);
            }

            Rewind();
            Draw(Bar(value));
            Draw(
                $"loss [bold]{TextReport.Fixed(value.TrainBitsPerByte, 3)}[/]  validation [bold]{TextReport.Fixed(_validation ?? double.NaN, 3)}[/] bits/byte"
                + $"   null [bold]{SvgChart.Percent(value.NullShare, 1)}[/]   balance [bold]{TextReport.Fixed(value.LoadBalance, 2)}[/]");
            Draw(
                $"[grey]{TextReport.Sparkline(_losses, 24)}[/]  {TextReport.Count(value.TokensPerSecond)} tokens/s"
                + $"   {TextReport.Duration(value.Elapsed)} gone, {TextReport.Duration(value.Eta)} left");
        }

        private string Bar(TrainProgress value)
        {
            double share = value.TotalSteps == 0 ? 1 : value.Step / (double)value.TotalSteps;
            string label = $" {value.Step}/{value.TotalSteps}";
            int width = Math.Clamp(_width - label.Length - 2, 10, 60);
            int full = (int)Math.Round(share * width);
            return $"[green]{new string('━', full)}[/][grey]{new string('─', width - full)}[/]{label}";
        }

        private void Draw(string markup)
        {
            // Bold and grey are colours too for someone who asked for none.
            _console.Write(new OneLine(new Markup(_color ? markup : Markup.Remove(markup))));
            _error.WriteLine();
            _linesDrawn++;
        }

        private void Rewind()
        {
            if (_linesDrawn > 0)
            {
                // Up to the first line drawn before, then clear to the end of the screen.
                _error.Write($"\u001b[{_linesDrawn}A\r\u001b[J");
                _linesDrawn = 0;
            }
        }
    }

    /// <summary>The first line of something: a wrapped line would make the rewind miss.</summary>
    private sealed class OneLine(IRenderable inner) : IRenderable
    {
        public Measurement Measure(RenderOptions options, int maxWidth) => inner.Measure(options, maxWidth);

        public IEnumerable<Segment> Render(RenderOptions options, int maxWidth) =>
            inner.Render(options, maxWidth).TakeWhile(segment => !segment.IsLineBreak);
    }
}
