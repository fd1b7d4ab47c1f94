using System.Text;
using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Experiments;

/// <summary>A picture and what it shows.</summary>
/// <param name="Pixels">RGB in [0, 1], row by row.</param>
/// <param name="IsDrawn">Per patch, whether a shape covers at least one of its pixels.</param>
/// <param name="Caption">Padded with blanks to <see cref="Scenes.CaptionLength"/>.</param>
/// <param name="Written">Length of the caption without the padding.</param>
internal sealed record Scene(float[] Pixels, bool[] IsDrawn, string Caption, int Written);

/// <summary>Scenes of one or two coloured shapes on an empty ground, and their captions: two modalities, one of them mostly blank.</summary>
/// <remarks>
/// A scene is cut into <see cref="Patches"/> * <see cref="Patches"/> patches; shapes stand in different cells of a grid of three by three and the caption names
/// them in reading order by colour, form and nothing else, so that whoever writes it has to look at the shapes and can ignore the ground. Scene number i of
/// a seed is always the same; evaluation takes numbers that training does not reach.
/// </remarks>
internal sealed class Scenes(ulong seed)
{
    /// <summary>Pixels per side.</summary>
    public const int Size = 24;

    /// <summary>Patches per side.</summary>
    public const int Patches = 6;

    /// <summary>Pixels per side of a patch.</summary>
    public const int PatchSize = Size / Patches;

    /// <summary>Numbers of a patch.</summary>
    public const int PatchValues = PatchSize * PatchSize * 3;

    /// <summary>Characters of a caption.</summary>
    public const int CaptionLength = 26;

    /// <summary>First scene of the evaluation.</summary>
    public const ulong EvaluationStart = 1UL << 40;

    private const float Ground = 0.95f;
    private const int Grid = 3;
    private const int Cell = Size / Grid;
    private const ulong Counters = 1024;

    private static readonly (string Name, float R, float G, float B)[] s_colours =
        [("red", 0.85f, 0.2f, 0.2f), ("green", 0.15f, 0.6f, 0.3f), ("blue", 0.2f, 0.35f, 0.85f), ("gold", 0.85f, 0.65f, 0.1f)];

    private static readonly string[] s_forms = ["disc", "box", "bar", "cross"];

    private readonly CounterRandom _random = new(seed, Initializer.StreamOf("scenes"));

    /// <summary>A scene by number.</summary>
    public Scene Draw(ulong number)
    {
        ulong counter = number * Counters;
        long Below(long bound) => _random.Below(counter++, bound);
        var pixels = new float[Size * Size * 3];
        var drawn = new bool[Patches * Patches];
        for (int i = 0; i < pixels.Length; i++)
        {
            pixels[i] = Ground;
        }

        int shapes = 1 + (int)Below(2);
        var cells = new SortedSet<int>();
        while (cells.Count < shapes)
        {
            cells.Add((int)Below(Grid * Grid));
        }

        var caption = new StringBuilder();
        foreach (int cell in cells)
        {
            int colour = (int)Below(s_colours.Length), form = (int)Below(s_forms.Length);
            (int left, int top) = ((cell % Grid * Cell) + 1 + (int)Below(2), (cell / Grid * Cell) + 1 + (int)Below(2));
            for (int y = 0; y < Cell - 2; y++)
            {
                for (int x = 0; x < Cell - 2; x++)
                {
                    if (Covers(form, x, y, Cell - 2))
                    {
                        Set(pixels, drawn, left + x, top + y, s_colours[colour]);
                    }
                }
            }

            caption.Append(caption.Length > 0 ? ", " : string.Empty).Append(s_colours[colour].Name).Append(' ').Append(s_forms[form]);
        }

        caption.Append('.');
        return new Scene(pixels, drawn, caption.ToString().PadRight(CaptionLength)[..CaptionLength], Math.Min(caption.Length, CaptionLength));
    }

    /// <summary>Copies the patches of a scene, one after the other in reading order, each its rows of RGB less the ground, which so becomes zeros.</summary>
    public static void CopyPatches(Scene scene, Span<float> destination)
    {
        for (int patch = 0; patch < Patches * Patches; patch++)
        {
            for (int row = 0; row < PatchSize; row++)
            {
                int from = ((((patch / Patches * PatchSize) + row) * Size) + (patch % Patches * PatchSize)) * 3;
                Span<float> target = destination.Slice((patch * PatchValues) + (row * PatchSize * 3), PatchSize * 3);
                for (int i = 0; i < target.Length; i++)
                {
                    target[i] = 2 * (scene.Pixels[from + i] - Ground);
                }
            }
        }
    }

    private static bool Covers(int form, int x, int y, int side)
    {
        double middle = (side - 1) / 2.0, dx = x - middle, dy = y - middle;
        return form switch
        {
            0 => (dx * dx) + (dy * dy) <= (middle + 0.3) * (middle + 0.3),
            1 => true,
            2 => Math.Abs(dy) < 1.1,
            _ => Math.Abs(dx) < 1.1 || Math.Abs(dy) < 1.1,
        };
    }

    private static void Set(float[] pixels, bool[] drawn, int x, int y, (string Name, float R, float G, float B) colour)
    {
        int at = ((y * Size) + x) * 3;
        (pixels[at], pixels[at + 1], pixels[at + 2]) = (colour.R, colour.G, colour.B);
        drawn[(y / PatchSize * Patches) + (x / PatchSize)] = true;
    }
}
