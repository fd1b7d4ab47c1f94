using System.Runtime.CompilerServices;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>A <see cref="RouterSpec"/> as flat arrays, made once per spec: what the inner loops look up.</summary>
internal sealed class RouterLayout
{
    private static readonly ConditionalWeakTable<RouterSpec, RouterLayout> s_layouts = [];
    private readonly NullKind[] _kinds;
    private readonly int[] _nullColumns;
    private readonly int[] _constants;
    private readonly int[] _copies;
    private readonly int[] _firstNull;

    private RouterLayout(RouterSpec spec)
    {
        Spec = spec;
        Experts = spec.Experts;
        Columns = spec.Columns;
        NullSlots = spec.NullSlots;
        EmptyId = spec.EmptyId;
        PlainColumns = spec.SharedNullLogit ? Experts : Columns;
        _kinds = new NullKind[NullSlots];
        _nullColumns = new int[NullSlots];
        _constants = new int[NullSlots];
        _copies = new int[Columns];
        _firstNull = new int[Columns];
        Array.Fill(_copies, 1);
        int slot = 0;
        for (int group = 0; group < spec.Nulls.Count; group++)
        {
            (NullKind kind, int count) = spec.Nulls[group];
            for (int copy = 0; copy < count; copy++, slot++)
            {
                int column = Experts + (spec.SharedNullLogit ? group : slot);
                _kinds[slot] = kind;
                _nullColumns[slot] = column;
                _constants[slot] = kind == NullKind.Constant ? Constants++ : -1;
                if (copy == 0 || !spec.SharedNullLogit)
                {
                    _firstNull[column] = slot;
                    _copies[column] = spec.SharedNullLogit ? count : 1;
                }
            }
        }
    }

    /// <summary>The spec that this describes.</summary>
    public RouterSpec Spec { get; }

    /// <summary>Real experts.</summary>
    public int Experts { get; }

    /// <summary>Logit columns.</summary>
    public int Columns { get; }

    /// <summary>Null slots.</summary>
    public int NullSlots { get; }

    /// <summary>Id of a slot that was left empty.</summary>
    public int EmptyId { get; }

    /// <summary>Constant null slots.</summary>
    public int Constants { get; }

    /// <summary>The first columns that stand for one slot each; the columns behind them are shared null logits.</summary>
    public int PlainColumns { get; }

    /// <summary>The layout of a spec; kept as long as the spec lives.</summary>
    public static RouterLayout Of(RouterSpec spec) => s_layouts.GetValue(spec, static key => new RouterLayout(key));

    /// <summary>Slots that share a column.</summary>
    public int Copies(int column) => _copies[column];

    /// <summary>Number of the first null slot of a null column.</summary>
    public int FirstNull(int column) => _firstNull[column];

    /// <summary>Column of a chosen id; -1 for an id that no slot has.</summary>
    public int ColumnOf(int id)
    {
        if (id >= 0)
        {
            return id < Experts ? id : -1;
        }

        return -1 - id < NullSlots ? _nullColumns[-1 - id] : -1;
    }

    /// <summary>What the balance loss takes as the load of a column, all copies together: its count, or its share of all null counts.</summary>
    public double BalanceLoad(int column, int count, int nullCount) =>
        column < Experts || Spec.NullBalance == NullBalance.PerSlot ? count : (double)_copies[column] * nullCount / NullSlots;

    /// <summary>Whether an id is a null slot of a kind.</summary>
    public bool IsNull(int id, NullKind kind) => id < 0 && -1 - id < NullSlots && _kinds[-1 - id] == kind;

    /// <summary>Number among the constant null slots, or -1 when the id is none.</summary>
    public int ConstantOf(int id) => id < 0 && -1 - id < NullSlots ? _constants[-1 - id] : -1;
}
