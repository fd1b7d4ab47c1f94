using System.Globalization;
using System.Text;
using MoeSharp.Core;

namespace MoeSharp.Tests;

/// <summary>Made-up texts for the tests.</summary>
internal static class Samples
{
    /// <summary>Lines like those of a small program: words, numbers, indentation.</summary>
    public static string Program(int lines)
    {
        var random = new CounterRandom(5, 1);
        string[] words = ["alpha", "beta", "gamma", "delta", "return", "value"];
        var text = new StringBuilder();
        for (int i = 0; i < lines; i++)
        {
            string first = words[random.Below((ulong)(3 * i), words.Length)], second = words[random.Below((ulong)((3 * i) + 1), words.Length)];
            text.Append(new string(' ', 4 * (i % 3)));
            text.Append(CultureInfo.InvariantCulture, $"{first} = {second}({random.Below((ulong)((3 * i) + 2), 100)});\n");
        }

        return text.ToString();
    }

    /// <summary>Independent bytes below a bound, all equally probable.</summary>
    public static byte[] Uniform(int length, int bound, ulong seed)
    {
        var random = new CounterRandom(seed, 2);
        var bytes = new byte[length];
        for (int i = 0; i < length; i++)
        {
            bytes[i] = (byte)random.Below((ulong)i, bound);
        }

        return bytes;
    }
}
