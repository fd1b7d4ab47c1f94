using System.Globalization;
using MoeSharp.Experiments;
using static MoeSharp.Cli.SvgWriter;

namespace MoeSharp.Cli;

/// <summary>Pictures whose patches are shaded by a number: what a model with null slots spends where.</summary>
internal static partial class SvgChart
{
    /// <summary>Draws every scene twice, plain and shaded, with its caption below, each character on its own shade.</summary>
    public static string Scenes(ScenesFigure figure, int width = 600)
    {
        const double Side = 132;
        const double Gap = 10;
        const double Advance = 7.1;
        int columns = 2;
        double cell = (width - 20) / (double)columns;
        double rowHeight = Side + 52;
        int rows = (figure.Scenes.Count + columns - 1) / columns;
        int height = (int)(32 + (rowHeight * rows) + 34);
        SvgWriter svg = Begin(figure.Title, width, height);
        for (int i = 0; i < figure.Scenes.Count; i++)
        {
            ShadedScene scene = figure.Scenes[i];
            double left = 4 + (cell * (i % columns)), top = 32 + (rowHeight * (i / columns));
            Pixels(svg, scene, left, top, Side);
            double shaded = left + Side + Gap;
            Pixels(svg, scene, shaded, top, Side);
            svg.Empty("rect", "x", Number(shaded), "y", Number(top), "width", Number(Side), "height", Number(Side), "class", "veil");
            double patch = Side / scene.Patches;
            for (int p = 0; p < scene.PatchValues.Count; p++)
            {
                Shade(svg, scene.PatchValues[p] / figure.Most, shaded + (p % scene.Patches * patch), top + (p / scene.Patches * patch), patch, patch);
            }

            for (int c = 0; c < scene.Text.Length; c++)
            {
                double at = left + (c * Advance);
                Shade(svg, c < scene.TextValues.Count ? scene.TextValues[c] / figure.Most : 0, at, top + Side + 8, Advance, 18);
                if (scene.Text[c] != ' ')
                {
                    svg.Leaf("text", scene.Text[c].ToString(), "x", Number(at + (Advance / 2)), "y", Number(top + Side + 21), "class", "code mid");
                }
            }
        }

        const int Levels = 6;
        double keyTop = height - 26;
        for (int level = 0; level < Levels; level++)
        {
            double at = 4 + (level * 44);
            svg.Empty("rect", "x", Number(at), "y", Number(keyTop), "width", "44", "height", "9", "class", "paper");
            Shade(svg, level / (Levels - 1.0), at, keyTop, 44, 9);
            svg.Leaf(
                "text", (figure.Most * level / (Levels - 1)).ToString("0.#", CultureInfo.InvariantCulture), "x", Number(at + 22), "y", Number(keyTop + 21), "class", "tick mid");
        }

        svg.Leaf("text", figure.ValueLabel, "x", Number(12 + (Levels * 44)), "y", Number(keyTop + 9), "class", "tick");
        return svg.Close().ToString();
    }

    // Equal neighbours in a row are one rectangle: most of a scene is blank.
    private static void Pixels(SvgWriter svg, ShadedScene scene, double left, double top, double side)
    {
        double pixel = side / scene.Size;
        for (int row = 0; row < scene.Size; row++)
        {
            int from = 0;
            for (int column = 1; column <= scene.Size; column++)
            {
                if (column < scene.Size && Colour(scene, row, column) == Colour(scene, row, from))
                {
                    continue;
                }

                svg.Empty(
                    "rect", "x", Number(left + (from * pixel)), "y", Number(top + (row * pixel)), "width", Number((column - from) * pixel), "height", Number(pixel),
                    "fill", Colour(scene, row, from), "class", "pixel");
                from = column;
            }
        }
    }

    private static string Colour(ShadedScene scene, int row, int column)
    {
        int at = ((row * scene.Size) + column) * 3;
        int Level(int channel) => (int)Math.Round(255 * Math.Clamp(scene.Pixels[at + channel], 0, 1));
        return string.Create(CultureInfo.InvariantCulture, $"#{Level(0):x2}{Level(1):x2}{Level(2):x2}");
    }

    private static void Shade(SvgWriter svg, double share, double left, double top, double width, double height)
    {
        if (share > 0.004)
        {
            svg.Empty(
                "rect", "x", Number(left), "y", Number(top), "width", Number(width), "height", Number(height), "class", "hot", "fill-opacity",
                Math.Clamp(share, 0, 1).ToString("0.##", CultureInfo.InvariantCulture));
        }
    }
}
