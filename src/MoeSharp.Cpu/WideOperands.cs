using System.Runtime.CompilerServices;
using MoeSharp.Core;

namespace MoeSharp.Cpu;

/// <summary>Float32 stand-ins for the bfloat16 operands of one op.</summary>
/// <remarks>
/// <para>The problem: thirty ops compute in float32 on rows of float32, and a backend of bfloat16 stores rows of bfloat16. The difficulty:
/// a second version of each would be thirty places for a second rounding. The choice: an op asks for its operands here; a float32 tensor
/// is handed out as it lies, a bfloat16 one as a copy, widened before the op and rounded once after it. The products, embeddings and
/// combines, where nearly all time goes, read and write bfloat16 themselves.</para>
/// <para>An op that writes into what it reads gets two copies and needs no care. Blocks only grow and are kept, so a step that ran once
/// allocates nothing. One op at a time.</para>
/// </remarks>
internal sealed unsafe class WideOperands(CpuParallel parallel) : IDisposable
{
    private const int ChunkElements = 1 << 14;
    private readonly List<Block> _blocks = [];
    private int _used;

    /// <summary>An operand that is read.</summary>
    public float* Read(Tensor tensor) => Take(tensor, 1, tensor.ElementCount, read: true, write: false);

    /// <summary>The same, of which only the first elements of each of some equal parts are read.</summary>
    public float* Read(Tensor tensor, int parts, long elements) => Take(tensor, parts, elements, read: true, write: false);

    /// <summary>An operand of which every element is written.</summary>
    public float* Write(Tensor tensor) => Take(tensor, 1, tensor.ElementCount, read: false, write: true);

    /// <summary>An operand that is read and written.</summary>
    public float* Update(Tensor tensor) => Take(tensor, 1, tensor.ElementCount, read: true, write: true);

    /// <summary>Rounds what was written to where it belongs.</summary>
    public void Dispose()
    {
        for (int i = 0; i < _used; i++)
        {
            Block block = _blocks[i];
            if (block.Target is { } target)
            {
                Convert(new Conversion { Half = (ushort*)target.Pointer, Wide = block.Pointer, Parts = 1, Elements = target.ElementCount, Narrow = true });
                block.Target = null;
            }
        }

        _used = 0;
    }

    private float* Take(Tensor tensor, int parts, long elements, bool read, bool write)
    {
        if (tensor.DType == DType.Float32)
        {
            return (float*)tensor.Pointer;
        }

        if (_used == _blocks.Count)
        {
            _blocks.Add(new Block());
        }

        Block block = _blocks[_used++];
        block.Reserve(tensor.ElementCount);
        block.Target = write ? tensor : null;
        if (read)
        {
            Convert(new Conversion
            {
                Half = (ushort*)tensor.Pointer, Wide = block.Pointer, Parts = parts, Elements = elements, Stride = tensor.ElementCount / Math.Max(1, parts),
            });
        }

        return block.Pointer;
    }

    private void Convert(Conversion work)
    {
        work.Chunks = (int)((work.Elements + ChunkElements - 1) / ChunkElements);
        parallel.For(checked(work.Parts * work.Chunks), work, static (w, index) =>
        {
            long first = (long)(index % w.Chunks) * ChunkElements;
            long offset = (index / w.Chunks * w.Stride) + first;
            nint count = (nint)Math.Min(ChunkElements, w.Elements - first);
            if (w.Narrow)
            {
                BFloat16Rows.Narrow(w.Wide + offset, w.Half + offset, count);
            }
            else
            {
                BFloat16Rows.Widen(w.Half + offset, w.Wide + offset, count);
            }
        });
    }

    private struct Conversion
    {
        public ushort* Half;
        public float* Wide;
        public int Parts;
        public long Elements;
        public long Stride;
        public int Chunks;
        public bool Narrow;
    }

    private sealed class Block
    {
        private const int Alignment = 64;
        private float[] _memory = [];

        /// <summary>Where the content is rounded to, when the op wrote it.</summary>
        public Tensor? Target;

        public float* Pointer => (float*)(((nint)Unsafe.AsPointer(ref _memory[0]) + Alignment - 1) & ~(nint)(Alignment - 1));

        public void Reserve(long elements)
        {
            long needed = elements + (Alignment / sizeof(float));
            if (_memory.Length < needed)
            {
                _memory = GC.AllocateUninitializedArray<float>(checked((int)needed), pinned: true);
            }
        }
    }
}
