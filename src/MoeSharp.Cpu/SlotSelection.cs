using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>The K slots of largest key, in rank order: equal keys to the lower slot, NaN below everything, groups masked.</summary>
/// <remarks>
/// The problem: K is small, columns are many, and one column may stand for hundreds of equal null slots. The choice: one pass over
/// the columns with a sorted list of the K best so far and a vector test against its last entry, so most columns cost an eighth of a
/// comparison; a shared null logit enters as one run of copies. Keys are mapped to integers of the same order, in which NaN has a
/// place and a masked expert has one below it, so that ids are unique and valid whatever the logits hold.
/// </remarks>
internal static unsafe class SlotSelection
{
    /// <summary>Key of a slot that may not be chosen.</summary>
    public const int Masked = int.MinValue;

    private const int NotANumber = int.MinValue + 1;

    /// <summary>Maps floats to integers of the same order: -0 equals 0, NaN below -inf, above <see cref="Masked"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<int> Order(Vector256<float> key)
    {
        Vector256<int> bits = (key + Vector256<float>.Zero).AsInt32();
        Vector256<int> ordered = bits ^ (Vector256.ShiftRightArithmetic(bits, 31) & Vector256.Create(int.MaxValue));
        return Vector256.ConditionalSelect(Vector256.Equals(key, key).AsInt32(), ordered, Vector256.Create(NotANumber));
    }

    /// <summary>Masks all real experts outside the groups that the token may choose from.</summary>
    /// <param name="scores">Selection scores of the real experts.</param>
    /// <param name="keys">Their keys; the ones of dropped groups become <see cref="Masked"/>.</param>
    /// <param name="spec">Groups, groups kept and how a group is scored.</param>
    /// <param name="groupKeys">Work memory, one integer per group.</param>
    public static void MaskGroups(float* scores, int* keys, RouterSpec spec, int* groupKeys)
    {
        int size = spec.Experts / spec.GroupCount;
        for (int group = 0; group < spec.GroupCount; group++)
        {
            groupKeys[group] = GroupKey(scores + (group * size), keys + (group * size), size, spec.GroupScore);
        }

        for (int group = 0; group < spec.GroupCount; group++)
        {
            int better = 0;
            for (int other = 0; other < spec.GroupCount; other++)
            {
                better += groupKeys[other] > groupKeys[group] || (groupKeys[other] == groupKeys[group] && other < group) ? 1 : 0;
            }

            if (better >= spec.GroupsKept)
            {
                new Span<int>(keys + (group * size), size).Fill(Masked);
            }
        }
    }

    /// <summary>Chooses.</summary>
    /// <param name="keys">Ordered keys of all columns.</param>
    /// <param name="layout">Which columns stand for several slots.</param>
    /// <param name="topK">K.</param>
    /// <param name="bestKeys">Work memory, K integers.</param>
    /// <param name="columns">K chosen columns, in rank order.</param>
    public static void Choose(int* keys, RouterLayout layout, int topK, int* bestKeys, int* columns)
    {
        new Span<int>(bestKeys, topK).Fill(Masked);
        new Span<int>(columns, topK).Clear();
        int* last = bestKeys + topK - 1;
        int plain = layout.PlainColumns, column = 0;
        for (; column <= plain - Vector256<int>.Count; column += Vector256<int>.Count)
        {
            if (Vector256.GreaterThanAny(Vector256.Load(keys + column), Vector256.Create(*last)))
            {
                for (int lane = 0; lane < Vector256<int>.Count; lane++)
                {
                    Insert(keys[column + lane], column + lane, 1, topK, bestKeys, columns);
                }
            }
        }

        for (; column < layout.Columns; column++)
        {
            Insert(keys[column], column, layout.Copies(column), topK, bestKeys, columns);
        }
    }

    /// <summary>Puts the copies of a column behind every entry that is not smaller, as far as there is room.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Insert(int key, int column, int copies, int topK, int* bestKeys, int* columns)
    {
        if (key <= bestKeys[topK - 1])
        {
            return;
        }

        int place = topK - 1;
        while (place > 0 && bestKeys[place - 1] < key)
        {
            place--;
        }

        int taken = Math.Min(copies, topK - place);
        for (int i = topK - 1; i >= place + taken; i--)
        {
            bestKeys[i] = bestKeys[i - taken];
            columns[i] = columns[i - taken];
        }

        for (int i = place; i < place + taken; i++)
        {
            bestKeys[i] = key;
            columns[i] = column;
        }
    }

    private static int GroupKey(float* scores, int* keys, int size, GroupScore rule)
    {
        int first = 0, second = -1;
        for (int i = 1; i < size; i++)
        {
            if (keys[i] > keys[first])
            {
                second = first;
                first = i;
            }
            else if (second < 0 || keys[i] > keys[second])
            {
                second = i;
            }
        }

        return rule == GroupScore.Max || second < 0
            ? keys[first]
            : Order(Vector256.Create(scores[first] + scores[second])).ToScalar();
    }
}
