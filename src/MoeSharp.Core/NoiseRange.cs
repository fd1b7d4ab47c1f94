namespace MoeSharp.Core;

/// <summary>Which random numbers an op draws: values <see cref="First"/>, <see cref="First"/> + 1, ... of a stream of <see cref="CounterRandom"/>.</summary>
/// <param name="Seed">Seed of the run.</param>
/// <param name="Stream">Stream of the layer.</param>
/// <param name="First">Counter of the first value.</param>
public readonly record struct NoiseRange(ulong Seed, ulong Stream, ulong First);
