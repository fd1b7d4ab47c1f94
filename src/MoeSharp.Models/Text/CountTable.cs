using System.Numerics;
using System.Runtime.CompilerServices;

namespace MoeSharp.Models;

/// <summary>An open-addressing hash table from 63-bit keys to counters; about 24 bytes an entry, no object per entry.</summary>
internal sealed class CountTable
{
    // A stored key is the key plus one, so that 0 means a free place and arrays need no fill.
    private ulong[] _keys;
    private long[] _values;
    private int _count;

    public CountTable(int capacity = 1 << 10)
    {
        int size = (int)BitOperations.RoundUpToPowerOf2((uint)capacity);
        _keys = new ulong[size];
        _values = new long[size];
    }

    /// <summary>Number of keys.</summary>
    public int Count => _count;

    /// <summary>The counter of a key, made as 0 when it is new. The reference is valid until the next call.</summary>
    public ref long Slot(ulong key)
    {
        if (_count >= _keys.Length / 3 * 2)
        {
            Grow();
        }

        int place = Find(_keys, key + 1);
        if (_keys[place] == 0)
        {
            _keys[place] = key + 1;
            _count++;
        }

        return ref _values[place];
    }

    /// <summary>The counter of a key; 0 when it is not there.</summary>
    public long Get(ulong key) => _values[Find(_keys, key + 1)];

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Find(ulong[] keys, ulong stored)
    {
        int mask = keys.Length - 1;
        int place = (int)((stored * 0x9E3779B97F4A7C15UL) >> 32) & mask;
        while (keys[place] != 0 && keys[place] != stored)
        {
            place = (place + 1) & mask;
        }

        return place;
    }

    private void Grow()
    {
        var keys = new ulong[_keys.Length * 2];
        var values = new long[keys.Length];
        for (int i = 0; i < _keys.Length; i++)
        {
            if (_keys[i] != 0)
            {
                int place = Find(keys, _keys[i]);
                keys[place] = _keys[i];
                values[place] = _values[i];
            }
        }

        (_keys, _values) = (keys, values);
    }
}
