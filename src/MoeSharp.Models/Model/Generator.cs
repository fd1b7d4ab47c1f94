using System.Runtime.CompilerServices;

namespace MoeSharp.Models;

/// <summary>Generates text byte by byte with cached keys and values.</summary>
/// <remarks>Equal prompts, options and weights give equal text. One generator serves one caller at a time; the model is borrowed.</remarks>
/// <param name="model">The model; its tokens are bytes.</param>
public sealed class Generator(Transformer model)
{
    /// <summary>Generates lazily: each element is one byte, computed when it is asked for.</summary>
    /// <param name="prompt">Text to continue; only the last context length counts. May be empty.</param>
    /// <param name="options">How to choose; the defaults when null.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    public IEnumerable<int> Stream(byte[] prompt, GenerateOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        return Run(prompt, (options ?? new GenerateOptions()).Validate());
    }

    /// <summary>Generates without blocking the caller: each byte is computed on the thread pool.</summary>
    /// <param name="prompt">Text to continue; only the last context length counts. May be empty.</param>
    /// <param name="options">How to choose; the defaults when null.</param>
    /// <param name="cancellationToken">Ends the stream with <see cref="OperationCanceledException"/> before the next byte.</param>
    public async IAsyncEnumerable<int> StreamAsync(
        byte[] prompt, GenerateOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        using IEnumerator<int> bytes = Stream(prompt, options).GetEnumerator();
        while (await Task.Run(bytes.MoveNext, cancellationToken).ConfigureAwait(false))
        {
            yield return bytes.Current;
        }
    }

    /// <summary>Generates all bytes at once.</summary>
    /// <param name="prompt">Text to continue. May be empty.</param>
    /// <param name="options">How to choose; the defaults when null.</param>
    /// <param name="cancellationToken">Checked before every byte.</param>
    public byte[] Generate(byte[] prompt, GenerateOptions? options = null, CancellationToken cancellationToken = default)
    {
        var text = new List<byte>();
        foreach (int token in Stream(prompt, options))
        {
            cancellationToken.ThrowIfCancellationRequested();
            text.Add((byte)token);
        }

        return [.. text];
    }

    private IEnumerable<int> Run(byte[] prompt, GenerateOptions options)
    {
        using var session = new GenerationSession(model, prompt, options);
        for (int i = 0; i < options.MaxTokens; i++)
        {
            yield return session.Next();
        }
    }
}
