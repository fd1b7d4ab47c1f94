namespace MoeSharp.Cli;

/// <summary>What the two output streams are connected to.</summary>
/// <remarks>
/// Libraries guess colours from TERM alone and write escape sequences into pipes; here nothing is guessed. A stream that is redirected
/// gets plain text, NO_COLOR (any value that is not empty) and TERM=dumb switch colours off everywhere.
/// </remarks>
/// <param name="OutputIsTerminal">Whether a person reads standard output.</param>
/// <param name="ErrorIsTerminal">Whether a person reads standard error.</param>
/// <param name="Color">Whether escape sequences for colour may be used where a person reads.</param>
/// <param name="Width">Columns of the terminal.</param>
internal sealed record Terminal(bool OutputIsTerminal, bool ErrorIsTerminal, bool Color, int Width)
{
    /// <summary>Both streams redirected: plain text.</summary>
    public static Terminal None { get; } = new(false, false, false, 120);

    /// <summary>The terminal of this process.</summary>
    public static Terminal Detect()
    {
        bool dumb = string.Equals(Environment.GetEnvironmentVariable("TERM"), "dumb", StringComparison.Ordinal);
        bool color = string.IsNullOrEmpty(Environment.GetEnvironmentVariable("NO_COLOR"));
        return new(!Console.IsOutputRedirected && !dumb, !Console.IsErrorRedirected && !dumb, color && !dumb, SafeWidth());
    }

    private static int SafeWidth()
    {
        try
        {
            return Math.Clamp(Console.WindowWidth, 40, 200);
        }
        catch (Exception error) when (error is IOException or PlatformNotSupportedException)
        {
            return 80;
        }
    }
}
