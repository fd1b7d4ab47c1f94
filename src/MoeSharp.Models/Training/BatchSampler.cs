using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>Draws training windows: where each begins is a pure function of (seed, step, micro-batch, row), so there is no state to save.</summary>
internal sealed class BatchSampler
{
    private readonly byte[] _text;
    private readonly int _batch;
    private readonly int _length;
    private readonly CounterRandom _random;
    private readonly int[] _ids;
    private readonly int[] _targets;

    public BatchSampler(byte[] text, int batch, int length, ulong seed)
    {
        _text = text;
        _batch = batch;
        _length = length;
        _random = new CounterRandom(seed, Initializer.StreamOf("batches"));
        _ids = new int[batch * length];
        _targets = new int[batch * length];
    }

    /// <summary>Writes a micro-batch into Int32 [batch * length] tensors: bytes, and the bytes that follow them.</summary>
    /// <param name="microBatch">Counted from 0 over the whole run.</param>
    /// <param name="ids">Input bytes.</param>
    /// <param name="targets">Next bytes.</param>
    public void Draw(long microBatch, Tensor ids, Tensor targets)
    {
        for (int row = 0; row < _batch; row++)
        {
            ulong counter = ((ulong)microBatch * (ulong)_batch) + (ulong)row;
            int start = (int)_random.Below(counter, _text.Length - _length);
            for (int i = 0; i < _length; i++)
            {
                _ids[(row * _length) + i] = _text[start + i];
                _targets[(row * _length) + i] = _text[start + i + 1];
            }
        }

        ids.CopyFrom<int>(_ids);
        targets.CopyFrom<int>(_targets);
    }
}
