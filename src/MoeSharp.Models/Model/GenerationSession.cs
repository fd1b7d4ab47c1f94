using MoeSharp.Autograd;
using MoeSharp.Core;

namespace MoeSharp.Models;

/// <summary>One running generation: history, caches and the counter of random numbers.</summary>
/// <remarks>
/// The model reads a limited context. The choice: the caches are filled until they are full, then cleared and refilled with the last half
/// of the context, so that the cost of refilling is spread over half a context of tokens. What is generated depends on
/// prompt, options and weights only.
/// </remarks>
internal sealed class GenerationSession : IDisposable
{
    private readonly Transformer _model;
    private readonly GenerateOptions _options;
    private readonly CounterRandom _random;
    private readonly Tape _tape;
    private readonly IReadOnlyList<KvCache> _caches;
    private readonly List<int> _history;
    private readonly double[] _logits;
    private int _pending;
    private ulong _count;

    public GenerationSession(Transformer model, ReadOnlySpan<byte> prompt, GenerateOptions options)
    {
        _model = model;
        _options = options.Validate();
        _random = new CounterRandom(options.Seed, Initializer.StreamOf("generate"));
        _logits = new double[model.Config.VocabularySize];

        // A model reads at least one token: without a prompt, the line end before the text.
        _history = [.. prompt.IsEmpty ? [(byte)'\n'] : prompt];
        int wrong = _history.FindIndex(id => id >= model.Config.VocabularySize);
        Guard.That(wrong < 0, $"Byte {wrong} of the prompt is outside of the model's vocabulary of {model.Config.VocabularySize}.");
        _pending = Math.Min(_history.Count, model.Config.ContextLength);
        _tape = new Tape(model.Backend, record: false);
        _caches = model.MakeCaches();
    }

    /// <summary>Generates the next token.</summary>
    public int Next()
    {
        if (_caches[0].Length + _pending > _model.Config.ContextLength)
        {
            foreach (KvCache cache in _caches)
            {
                cache.Clear();
            }

            _pending = _model.Config.ContextLength / 2;
        }

        Encode(_history.GetRange(_history.Count - _pending, _pending).ToArray());
        int token = Sampler.Choose(_logits, _options.Temperature, _options.TopP, _random.Uniform(_count++));
        _history.Add(token);
        _pending = 1;
        return token;
    }

    public void Dispose()
    {
        foreach (KvCache cache in _caches)
        {
            cache.Dispose();
        }

        _tape.Dispose();
    }

    private void Encode(int[] tokens)
    {
        Tensor ids = _tape.Rent(DType.Int32, tokens.Length);
        ids.CopyFrom<int>(tokens);
        Tensor logits = _model.Forward(_tape, ids, 1, tokens.Length, _caches).Logits.Value;
        using (Tensor last = logits.View(new Shape(_logits.Length), (tokens.Length - 1L) * _logits.Length))
        {
            last.ToDoubles().CopyTo(_logits, 0);
        }

        _tape.Reset();
    }
}
