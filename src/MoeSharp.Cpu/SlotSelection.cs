using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>The K slots of largest key, in rank order: equal keys to the lower slot, NaN below everything, groups masked.</summary>
/// <remarks>
/// The problem: columns are many, one of them may stand for hundreds of equal null slots, and a sorted list costs a mispredicted branch
/// for almost every entry. The choice: one vector maximum over the columns per rank, with no branch that depends on the data but the
/// last; the copies of a shared null logit are taken as one run. Keys are mapped to integers of the same order, in which NaN has a
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
    /// <param name="keys">Ordered keys of all columns, <see cref="Masked"/> up to the next whole vector; destroyed.</param>
    /// <param name="layout">Which columns stand for several slots.</param>
    /// <param name="topK">K.</param>
    /// <param name="columns">K chosen columns, in rank order; copies of a shared column side by side.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Choose(int* keys, RouterLayout layout, int topK, int* columns)
    {
        for (int rank = 0; rank < topK;)
        {
            int column = Largest(keys, layout.Columns);

            // All copies compare equal and everything before them in the order is already taken, so they win one rank after another.
            keys[column] = Masked;
            for (int end = Math.Min(topK, rank + layout.Copies(column)); rank < end; rank++)
            {
                columns[rank] = column;
            }
        }
    }

    /// <summary>The lowest index of the largest of the first n keys.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Largest(int* keys, int n)
    {
        Vector256<int> lanes = Vector256.Load(keys);
        for (int i = Vector256<int>.Count; i < n; i += Vector256<int>.Count)
        {
            lanes = Vector256.Max(lanes, Vector256.Load(keys + i));
        }

        Vector128<int> four = Vector128.Max(lanes.GetLower(), lanes.GetUpper());
        Vector128<int> two = Vector128.Max(four, Vector128.Shuffle(four, Vector128.Create(2, 3, 0, 1)));
        Vector256<int> largest = Vector256.Create(Math.Max(two.ToScalar(), two.GetElement(1)));
        for (int i = 0;; i += Vector256<int>.Count)
        {
            uint equal = Vector256.Equals(Vector256.Load(keys + i), largest).ExtractMostSignificantBits();
            if (equal != 0)
            {
                return i + BitOperations.TrailingZeroCount(equal);
            }
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
